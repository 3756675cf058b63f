// Requests to the server that are tried until it answers. An answer that is not saved yet survives a reload of the page.
"use strict";

window.interpscoreSaving = (() => {
  const FIRST_WAIT_MS = 500, LONGEST_WAIT_MS = 15000, TIMEOUT_MS = 20000;
  const PENDING = "interpscore-pending";

  class Refused extends Error {
    constructor(status, body) {
      super(`refused with ${status}`);
      this.status = status;
      this.body = body;
    }
  }

  function pause(milliseconds) {
    return new Promise((resolve) => {
      const timer = setTimeout(done, milliseconds);
      function done() {
        clearTimeout(timer);
        window.removeEventListener("online", done);
        resolve();
      }
      window.addEventListener("online", done);
    });
  }

  async function once(url, body) {
    const stop = new AbortController();
    const timer = setTimeout(() => stop.abort(), TIMEOUT_MS);
    try {
      const headers = { "X-Study-Script": "1", Accept: "application/json" };
      if (body !== undefined) headers["Content-Type"] = "application/json";
      const response = await fetch(url, {
        method: body === undefined ? "GET" : "POST", headers, credentials: "same-origin", cache: "no-store",
        body: body === undefined ? undefined : JSON.stringify(body), signal: stop.signal,
      });
      const text = await response.text();
      if (response.ok) return JSON.parse(text);
      let content = {};
      try { content = JSON.parse(text); } catch { /* a proxy's own page */ }
      if (response.status >= 500 || response.status === 429 || response.status === 408) throw new Error("try again");
      throw new Refused(response.status, content);
    } finally {
      clearTimeout(timer);
    }
  }

  // The server's answer. Failures of the network and of the server are tried again for as long as the page is open;
  // `onWaiting` is called at each. Throws Refused where trying again cannot help.
  async function request(url, body, onWaiting = () => {}) {
    for (let wait = FIRST_WAIT_MS; ; wait = Math.min(2 * wait, LONGEST_WAIT_MS)) {
      try {
        return await once(url, body);
      } catch (error) {
        if (error instanceof Refused) throw error;
        onWaiting();
        await pause(wait * (0.75 + Math.random() / 2));
      }
    }
  }

  function keep(pending) {
    try { sessionStorage.setItem(PENDING, JSON.stringify(pending)); } catch { /* private windows may have none */ }
  }
  function forget() {
    try { sessionStorage.removeItem(PENDING); } catch { /* as above */ }
  }
  function kept() {
    try { return JSON.parse(sessionStorage.getItem(PENDING)); } catch { return null; }
  }

  return { request, keep, forget, kept, Refused };
})();
