/** Asks before anything is done. Cancel has the focus, so that a key too many does nothing. */
import { element, make } from "./dom";

export interface Field {
  readonly name: string;
  readonly label: string;
  readonly type: "text" | "number";
  readonly value?: string;
  readonly maxLength?: number;
  readonly isRequired?: boolean;
  readonly step?: string;
}

const dialog = element("confirm", HTMLDialogElement);
const title = element("confirm-title", HTMLElement);
const text = element("confirm-text", HTMLElement);
const fields = element("confirm-fields", HTMLElement);
const yes = element("confirm-yes", HTMLButtonElement);
const no = element("confirm-no", HTMLButtonElement);

/** The values of the fields by name, or null: not now. */
export function confirmed(
  what: string,
  consequence: string,
  verb: string,
  asked: readonly Field[] = [],
): Promise<Readonly<Record<string, string>> | null> {
  title.textContent = what;
  text.textContent = consequence;
  yes.textContent = verb;
  const inputs = asked.map((field) => {
    const input = make("input", {
      id: `field-${field.name}`,
      name: field.name,
      type: field.type,
      autocomplete: "off",
      ...(field.maxLength === undefined ? {} : { maxlength: String(field.maxLength) }),
      ...(field.step === undefined ? {} : { step: field.step, min: "0" }),
    });
    input.value = field.value ?? "";
    input.required = field.isRequired ?? false;
    return input;
  });
  fields.replaceChildren(
    ...asked.flatMap((field, k) => {
      const input = inputs[k];
      return input === undefined ? [] : [make("label", { for: input.id }, field.label), input];
    }),
  );
  dialog.returnValue = "no";
  dialog.showModal();
  (inputs[0] ?? no).focus();
  return new Promise((resolve) => {
    dialog.addEventListener(
      "close",
      () => {
        const values = Object.fromEntries(inputs.map((input) => [input.name, input.value.trim()]));
        resolve(dialog.returnValue === "yes" ? values : null);
      },
      { once: true },
    );
  });
}
