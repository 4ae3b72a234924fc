/**
 * Acts of this page: numbered, kept until they are answered, said again on a new connection (STANDARD.md §8).
 *
 * Invariants: at most ACTS_UNANSWERED_MAX wait; numbers of one session count up by one without a gap; an act that was said
 * under one body is never said under another, for nobody would know that it was done before. Every promise that `add` gave is
 * settled: by the answer's value, or by an ActRefused or ActLost. Not responsible for: connections (session.ts).
 */
import { ProtocolError } from "../protocol/codes";
import { ACTS_UNANSWERED_MAX } from "../protocol/layouts";
import { encodeAct, type Answer, type Welcome } from "../protocol/messages";

/** It was not done, and has changed nothing; the message is for people. */
export class ActRefused extends Error {
  override readonly name = "ActRefused";

  constructor(
    readonly code: number,
    why: string,
  ) {
    super(why);
  }
}

/** Nobody knows whether it was done: its body is gone, or the session ended before the answer. */
export class ActLost extends Error {
  override readonly name = "ActLost";
}

interface Waiting {
  /** Null: it has not been said yet. */
  number: number | null;
  readonly name: string;
  readonly payload: unknown;
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: Error) => void;
}

type Data = Uint8Array<ArrayBuffer>;

export class Acts {
  private newest = 0;
  private waiting: Waiting[] = [];
  private session: bigint | null = null;
  private body: bigint | null = null;

  get unanswered(): number {
    return this.waiting.length;
  }

  /** One more, to be said by `say`. Throws RangeError if too many wait. */
  add(name: string, payload: unknown): Promise<unknown> {
    if (this.waiting.length >= ACTS_UNANSWERED_MAX) throw new RangeError("too many acts are not answered yet");
    return new Promise((resolve, reject) => {
      this.waiting.push({ number: null, name, payload, resolve, reject });
    });
  }

  /** On a connection that is welcomed: those that have not been said, with their numbers. */
  say(): Data[] {
    const out: Data[] = [];
    for (const act of this.waiting) {
      if (act.number !== null) continue;
      act.number = ++this.newest;
      out.push(encodeAct(act.number, act.name, act.payload));
    }
    return out;
  }

  /** A new connection: what to say on it. Acts that were said under another body are lost. */
  welcomed(welcome: Welcome): Data[] {
    const same = welcome.session === this.session && welcome.body === this.body;
    const sameSession = welcome.session === this.session;
    this.session = welcome.session;
    this.body = welcome.body;
    if (!same) {
      const said = this.waiting.filter((act) => act.number !== null);
      this.waiting = this.waiting.filter((act) => act.number === null);
      for (const act of said) act.reject(new ActLost("nobody knows whether it was done"));
    }
    const again = this.waiting.filter((act) => act.number !== null);
    if (!sameSession) this.newest = welcome.acted;
    else if (again.length === 0) this.newest = Math.max(this.newest, welcome.acted);
    return [...again.map((act) => encodeAct(act.number ?? 0, act.name, act.payload)), ...this.say()];
  }

  /** The server answers the oldest one. Throws ProtocolError for any other. */
  answered(answer: Answer): void {
    const [act] = this.waiting;
    if (act === undefined || act.number !== answer.number) {
      throw new ProtocolError(`ANSWER to act ${answer.number}, which is not the oldest that waits`);
    }
    this.waiting.shift();
    if (answer.code === 0) act.resolve(answer.value);
    else act.reject(new ActRefused(answer.code, String(answer.value)));
  }

  /** The session is over: what was not answered never will be. */
  end(): void {
    const waiting = this.waiting;
    this.waiting = [];
    for (const act of waiting) act.reject(new ActLost("the session is over"));
  }
}
