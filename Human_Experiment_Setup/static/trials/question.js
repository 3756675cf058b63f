// A jsPsych plug-in: a question and one line of text, or "I can't tell". See study/trials/question.py for its answer.
"use strict";

window.interpscoreTrials = window.interpscoreTrials || {};
window.interpscoreTrials.question = (() => {
  const { ParameterType } = jsPsychModule;

  class QuestionPlugin {
    static info = {
      name: "interpscore-question",
      version: "1.0.0",
      parameters: {
        picture: { type: ParameterType.OBJECT, default: null },
        settings: { type: ParameterType.OBJECT, default: {} },
        wording: { type: ParameterType.OBJECT, default: {} },
        minimum_ms: { type: ParameterType.INT, default: 0 },
      },
      data: {
        answer: { type: ParameterType.OBJECT },
        signals: { type: ParameterType.OBJECT },
        rt: { type: ParameterType.INT },
      },
    };

    constructor(jsPsych) {
      this.jsPsych = jsPsych;
    }

    trial(display, { settings, wording, minimum_ms }) {
      const form = interpscoreForm.make(display, { picture: null, question: settings.question, wording });
      const field = form.addField(wording.answer, 200, true);
      const text = () => field.value.trim();
      form.run({
        jsPsych: this.jsPsych, minimum_ms, fields: [field],
        missing: () => (text() ? null : field),
        missing_text: wording.answer_missing.replace("{cannot_tell}", wording.cannot_tell),
        answer: (cannot_tell) => ({ text: cannot_tell ? "" : text(), cannot_tell }),
      });
    }
  }
  return QuestionPlugin;
})();
