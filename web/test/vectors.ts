/** The vectors that all implementations of the protocol read. */
import { readFileSync } from "node:fs";

export interface FrameVectors {
  readonly messages: readonly { readonly from: "client" | "server"; readonly kind: string; readonly hex: string }[];
  readonly stream: {
    readonly steps: readonly {
      readonly kind: "structure" | "frame";
      readonly hex: string;
      readonly items: Readonly<Record<string, unknown>>;
      /** Ticks after the message's → entity id → metres. */
      readonly shown_after: Readonly<Record<string, Readonly<Record<string, readonly number[]>>>>;
    }[];
  };
}

export function vectors(name: string): unknown {
  return JSON.parse(readFileSync(new URL(`../../protocol/vectors/${name}`, import.meta.url), "utf8"));
}

/** As a message arrives: in a buffer of its own. */
export function unhex(hex: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(hex.match(/../g) ?? [], (byte) => parseInt(byte, 16));
}

export function hex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
