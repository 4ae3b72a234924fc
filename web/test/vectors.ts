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

export interface DatagramVectors {
  readonly sealed: readonly { readonly parts: readonly (readonly [number, string])[]; readonly received: number }[];
  readonly malformed: readonly { readonly name: string; readonly hex: string }[];
  readonly streams: readonly {
    readonly name: string;
    readonly steps: readonly {
      readonly offset: number;
      readonly hex: string;
      readonly messages: readonly string[] | null;
      readonly received: number;
    }[];
  }[];
  readonly values: readonly {
    readonly kind: "structure" | "values";
    readonly hex: string;
    readonly came?: boolean;
    readonly frame: number;
    readonly earlier: string;
    readonly shown_at: number;
    readonly shown: Readonly<Record<string, readonly number[]>>;
  }[];
  readonly messages: readonly { readonly from: "client" | "server"; readonly kind: string; readonly hex: string }[];
}
