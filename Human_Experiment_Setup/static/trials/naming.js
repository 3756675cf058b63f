// A jsPsych plug-in: a picture, labelled fields for words, "I can't tell". See study/trials/naming.py for its answer.
"use strict";

window.interpscoreTrials = window.interpscoreTrials || {};
window.interpscoreTrials.naming = (() => {
  const { ParameterType } = jsPsychModule;

  class NamingPlugin {
    static info = {
      name: "interpscore-naming",
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

    trial(display, { picture, settings, wording, minimum_ms }) {
      const form = interpscoreForm.make(display, { picture, question: settings.question, wording });
      const fields = Array.from({ length: settings.words }, (_, at) => {
        const label = settings.words === 1 ? wording.answer : wording.word.replace("{number}", String(at + 1));
        return form.addField(label, settings.longest, at < settings.required);
      });
      const words = () => fields.map((field) => field.value.trim());
      form.run({
        jsPsych: this.jsPsych, minimum_ms, fields,
        missing: () => (words().filter(Boolean).length >= settings.required ? null : fields.find((field) => !field.value.trim())),
        missing_text: (settings.required === 1 ? wording.answer_missing : wording.words_missing)
          .replace("{number}", String(settings.required)).replace("{cannot_tell}", wording.cannot_tell),
        answer: (cannot_tell) => ({ words: cannot_tell ? [] : words().filter(Boolean), cannot_tell }),
      });
    }
  }
  return NamingPlugin;
})();
