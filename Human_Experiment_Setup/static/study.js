// A session in the browser: instructions and checks, then trial after trial as the server hands them out, each saved before
// the next is shown. The server decides where the session is; a reload asks it again.
"use strict";

(() => {
  const { request, keep, forget, kept, Refused } = interpscoreSaving;
  const { element } = interpscoreForm;
  const { ParameterType } = jsPsychModule;
  const { root, wording, checks, minimum_ms } = JSON.parse(document.getElementById("settings").textContent);
  const url = (path) => `${root}/${path}`;
  const tab = Math.random().toString(36).slice(2, 14);
  const stage = document.getElementById("stage"), saved = document.getElementById("saved");
  const bar = document.getElementById("progress");
  const pictures = new Map();
  let state = null, unsaved = false, picture = null, welcomed = false;

  // What is shown around the trials -----------------------------------------------------------------------------------

  function show_progress() {
    const total = state.total || 1, done = state.state === "trial" ? state.trial : state.state === "complete" ? total : 0;
    bar.setAttribute("aria-valuemax", String(total));
    bar.setAttribute("aria-valuenow", String(done));
    const text = wording.progress.replace("{done}", String(done)).replace("{total}", String(total));
    bar.setAttribute("aria-valuetext", text);
    document.getElementById("count").textContent = state.state === "trial" ? text : "";
    document.getElementById("progress-fill").style.width = `${(100 * done) / total}%`;
  }

  function card(display, title, ...content) {
    const heading = element("h1", { textContent: title, tabIndex: -1 });
    display.replaceChildren(element("div", { className: "card" }, heading, ...content));
    heading.focus({ preventScroll: true });
    window.scrollTo(0, 0);
  }

  function button(text, react) {
    const made = element("button", { className: "primary", type: "button", textContent: text });
    made.addEventListener("click", () => { made.disabled = true; react(); }, { once: true });
    return element("p", { className: "actions" }, made);
  }

  // What is sent ------------------------------------------------------------------------------------------------------

  async function send(path, body) {
    const slow = setTimeout(() => { saved.textContent = wording.saving; saved.className = "saved waiting"; }, 300);
    try {
      return await request(url(path), body, () => {
        clearTimeout(slow);
        saved.textContent = wording.save_failed;
        saved.className = "saved failed";
      });
    } finally {
      clearTimeout(slow);
    }
  }

  async function save(answer) {
    unsaved = true;
    keep({ ...answer, picture: state.picture });
    try {
      state = await send("api/answers", { ...answer, tab });
      saved.textContent = wording.saved;
      saved.className = "saved done";
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      if (error.status === 409) state = await send("api/next"); // answered in another tab: go on after it
      else return give_up(error);
    }
    forget();
    unsaved = false;
    show_progress();
    prepare(state.upcoming || []);
  }

  function give_up(error) {
    unsaved = false;
    if (error.status === 401 || error.status === 410) return location.reload(); // the server's page says why
    forget();
    saved.textContent = "";
    card(stage, wording.error_title, element("p", { textContent: wording.save_refused }), button(wording.try_again, () => location.reload()));
    return new Promise(() => {});
  }

  // Pictures ----------------------------------------------------------------------------------------------------------

  function load(address) {
    if (!pictures.has(address)) {
      const image = new Image();
      image.src = address;
      const loaded = image.decode().then(() => image);
      loaded.catch(() => pictures.delete(address));
      pictures.set(address, loaded);
    }
    return pictures.get(address);
  }
  function prepare(addresses) {
    for (const address of addresses) load(address).catch(() => {});
  }

  // Plug-ins of the pages between trials ------------------------------------------------------------------------------

  class Instructions {
    static info = { name: "interpscore-instructions", version: "1.0.0", parameters: {}, data: {} };
    constructor(jsPsych) { this.jsPsych = jsPsych; }
    trial(display) {
      const text = document.getElementById("instructions").content.cloneNode(true);
      const again = state.attempts > 0 ? [element("p", { className: "problem", textContent: wording.checks_again })] : [];
      again.forEach((line) => line.setAttribute("role", "alert"));
      card(display, wording.instructions_title, ...again, text, button(wording.instructions_button, () => this.jsPsych.finishTrial({})));
    }
  }

  class Checks {
    static info = { name: "interpscore-checks", version: "1.0.0", parameters: {}, data: {} };
    constructor(jsPsych) { this.jsPsych = jsPsych; }
    trial(display) {
      const form = element("form", { className: "checks" });
      checks.forEach(({ question, options }, at) => {
        const group = element("fieldset", {}, element("legend", { textContent: question }));
        for (const option of options) {
          const choice = element("input", { type: "radio", name: `check-${at}`, value: option, required: true });
          group.append(element("label", { className: "tick" }, choice, element("span", { textContent: option })));
        }
        form.append(group);
      });
      const send_button = element("button", { className: "primary", type: "submit", textContent: wording.checks_button });
      form.append(element("p", { className: "actions" }, send_button));
      form.addEventListener("submit", async (event) => {
        event.preventDefault();
        if (send_button.disabled) return;
        send_button.disabled = true;
        const given = new FormData(form);
        try {
          state = await send("api/checks", { answers: checks.map((_, at) => given.get(`check-${at}`)) });
          saved.textContent = "";
          show_progress();
        } catch (error) {
          await give_up(error);
        }
        this.jsPsych.finishTrial({});
      });
      card(display, wording.checks_title, element("p", { textContent: wording.checks_about }), form);
    }
  }

  class Notice {
    static info = { name: "interpscore-notice", version: "1.0.0", parameters: {}, data: {} };
    constructor(jsPsych) { this.jsPsych = jsPsych; }
    trial(display) {
      const is_break = state.notice === "break";
      const text = (is_break ? wording.break_about : wording[state.notice === "practice" ? "practice_about" : "practice_done"])
        .replace("{done}", String(state.trial)).replace("{total}", String(state.total));
      card(display, is_break ? wording.break_title : wording.practice_title, element("p", { textContent: text }), button(wording.go_on, () => this.jsPsych.finishTrial({})));
    }
  }

  // Loads the trial's picture, or says that it cannot be loaded: a trial never starts without it.
  class Loading {
    static info = { name: "interpscore-loading", version: "1.0.0", parameters: {}, data: { shown: { type: ParameterType.BOOL } } };
    constructor(jsPsych) { this.jsPsych = jsPsych; }
    async trial(display) {
      const address = state.picture;
      for (;;) {
        const waiting = setTimeout(() => display.replaceChildren(element("p", { className: "waiting", textContent: wording.loading })), 400);
        try {
          picture = await load(address);
          return { shown: true };
        } catch {
          picture = null;
        } finally {
          clearTimeout(waiting);
        }
        const skip = await new Promise((resolve) => {
          const other = element("button", { type: "button", textContent: wording.skip_picture });
          other.addEventListener("click", () => resolve(true));
          const actions = button(wording.try_again, () => resolve(false));
          actions.append(other);
          card(display, wording.picture_failed, actions);
        });
        if (skip) return { shown: false };
        display.replaceChildren();
      }
    }
  }

  // The session -------------------------------------------------------------------------------------------------------

  function trials_of(kind, plugin) {
    return {
      timeline: [{
        type: plugin,
        picture: () => picture,
        settings: () => state.settings,
        wording: () => wording,
        minimum_ms,
        on_finish: ({ answer, signals, rt }) => save({ trial: state.trial, answer, signals, rt_ms: Math.max(0, Math.round(rt || 0)), shown: true }),
      }],
      conditional_function: () => state.state === "trial" && state.kind === kind && (picture !== null || !state.picture),
    };
  }

  async function run() {
    state = await send("api/next");
    const pending = kept();
    if (pending && state.state === "trial" && pending.trial === state.trial && pending.picture === state.picture) {
      const { picture: _, ...answer } = pending;
      await save(answer);
    }
    forget();
    show_progress();
    if (state.picture) prepare([state.picture, ...state.upcoming]);
    const jsPsych = initJsPsych({ display_element: stage });
    const first = () => !welcomed && state.state !== "complete" && (state.state === "checks" || state.trial === 0);
    await jsPsych.run([
      {
        timeline: [{ type: Instructions, on_finish: () => { welcomed = true; } }],
        conditional_function: () => first() && !checks.length,
      },
      {
        timeline: [{ type: Instructions }, { type: Checks }],
        conditional_function: () => state.state === "checks",
        loop_function: () => state.state === "checks",
      },
      {
        timeline: [
          { timeline: [{ type: Notice }], conditional_function: () => Boolean(state.notice) },
          {
            timeline: [{
              type: Loading,
              on_finish: async ({ shown }) => { if (!shown) await save({ trial: state.trial, answer: {}, rt_ms: 0, shown: false }); },
            }],
            conditional_function: () => { picture = null; return Boolean(state.picture); },
          },
          ...Object.entries(window.interpscoreTrials).map(([kind, plugin]) => trials_of(kind, plugin)),
        ],
        conditional_function: () => state.state === "trial",
        loop_function: () => state.state === "trial",
      },
    ]);
    location.replace(url("done"));
  }

  window.addEventListener("beforeunload", (event) => { if (unsaved) event.preventDefault(); });
  run().catch((error) => (error instanceof Refused ? give_up(error) : Promise.reject(error)));
})();
