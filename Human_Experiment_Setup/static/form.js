// The form of a trial: picture, question, fields, "I can't tell", and that it is answered once, and not too early.
"use strict";

window.interpscoreForm = (() => {
  function element(tag, properties = {}, ...children) {
    const made = Object.assign(document.createElement(tag), properties);
    made.append(...children);
    return made;
  }

  function make(display, { picture, question, wording }) {
    const heading = element("h1", { className: "question", id: "question", textContent: question });
    const fields = element("div", { className: "fields" });
    const problem = element("p", { className: "problem", id: "problem" });
    problem.setAttribute("role", "alert");
    const form = element("form", { className: "answer", noValidate: true, autocomplete: "off" }, heading, fields, problem);
    form.setAttribute("aria-labelledby", "question");
    const trial = element("div", { className: picture ? "trial" : "trial without-picture" });
    if (picture) {
      picture.alt = wording.picture;
      picture.className = "picture";
      picture.draggable = false;
      trial.append(element("div", { className: "picture-frame" }, picture));
    }
    trial.append(form);
    display.append(trial);

    function addField(label, longest, required) {
      const id = `field-${fields.children.length}`;
      const input = element("input", { id, type: "text", maxLength: longest, spellcheck: false, autocomplete: "off" });
      input.setAttribute("autocapitalize", "off");
      input.setAttribute("autocorrect", "off");
      input.setAttribute("aria-required", String(required));
      input.setAttribute("aria-describedby", "question problem");
      fields.append(element("p", { className: "field" }, element("label", { htmlFor: id, textContent: label }), input));
      return input;
    }

    // Ends the trial once: by the form, or by "I can't tell"; not before `minimum_ms`.
    function run({ jsPsych, minimum_ms, fields: inputs, missing, missing_text, answer }) {
      const next = element("button", { className: "primary", type: "submit", textContent: wording.next });
      const cannot = element("button", { type: "button", textContent: wording.cannot_tell });
      form.append(element("p", { className: "actions" }, next, cannot));
      const started = performance.now(), stop = interpscoreSignals.watch(display);
      let done = false;

      function too_early() {
        if (performance.now() - started >= minimum_ms) return false;
        problem.textContent = wording.too_early;
        return true;
      }
      function finish(cannot_tell) {
        if (done) return;
        done = true;
        const rt = Math.round(performance.now() - started);
        jsPsych.finishTrial({ answer: answer(cannot_tell), signals: stop(), rt });
      }
      form.addEventListener("submit", (event) => {
        event.preventDefault();
        if (done || too_early()) return;
        const field = missing();
        if (!field) return finish(false);
        if (document.activeElement === field || event.submitter === next) problem.textContent = missing_text;
        field.focus();
      });
      // Enter moves to the next empty field, and sends the form from the last.
      form.addEventListener("keydown", (event) => {
        if (event.key === "Enter" && event.repeat) event.preventDefault();
        if (event.key !== "Enter" || !inputs.includes(event.target)) return;
        event.preventDefault();
        form.requestSubmit();
      });
      form.addEventListener("input", () => { problem.textContent = ""; });
      cannot.addEventListener("click", () => { if (!too_early()) finish(true); });
      (inputs[0] || next).focus({ preventScroll: true });
      window.scrollTo(0, 0);
    }

    return { form, fields, addField, run };
  }

  return { make, element };
})();
