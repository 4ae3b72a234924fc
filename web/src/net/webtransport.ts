/**
 * A link over WebTransport: the browser's QUIC connection, its token, and datagrams in both directions. Decides nothing but how much it
 * waits when it ends: what a link is, and when it is given up, is said by datagramlink.ts and session.ts.
 */
import { ProtocolError } from "../protocol/codes";
import { PLAIN_BYTES_MAX } from "../protocol/datagrams";
import type { Token } from "../protocol/messages";
import { DatagramLink } from "./datagramlink";

/** How long a page that leaves waits for its last words to come. */
const LINGER_MS = 1000;
const LINGER_LOOK_MS = 50;
/** Datagrams that may wait for this page's thread: some seconds' worth. */
const INCOMING_MAX = 256;

export interface Listener {
  opened(): void;
  /** A datagram came, with these messages. */
  heard(messages: readonly Uint8Array[]): void;
  /** The server said what cannot be. */
  broken(error: ProtocolError): void;
  closed(reason: string): void;
}

export class WebTransportLink {
  private readonly link = new DatagramLink();
  private readonly transport: WebTransport;
  private writer: WritableStreamDefaultWriter<Uint8Array<ArrayBuffer>> | null = null;
  private pumps = false;
  private ended = false;

  constructor(
    token: Token,
    address: string,
    private readonly listener: Listener,
  ) {
    this.transport = new WebTransport(address, {
      congestionControl: "low-latency",
      requireUnreliable: true,
      serverCertificateHashes: token.certificates.map((value) => ({ algorithm: "sha-256", value: value.slice() })),
    });
    void this.run(token).catch((error: unknown) => {
      this.end(String(error));
    });
  }

  /** Whether this browser has what it takes. */
  static get available(): boolean {
    return typeof WebTransport === "function";
  }

  /** One message for the server; it leaves with all others that are said in this turn of the page's loop. */
  say(data: Uint8Array, mayBeLost: boolean): void {
    this.link.say(data, mayBeLost);
    if (this.pumps) return;
    this.pumps = true;
    queueMicrotask(() => {
      this.pumps = false;
      this.pump(performance.now());
    });
  }

  /** Send what is due; to be called every few milliseconds. */
  pump(nowMs: number): void {
    if (this.writer === null) return;
    for (const datagram of this.link.take(nowMs, Math.min(PLAIN_BYTES_MAX, this.transport.datagrams.maxDatagramSize))) {
      this.writer.write(datagram).catch(() => undefined); // the end of the transport is told by `closed`
    }
  }

  /** Nothing is heard from now on; what was said reliably has a moment to arrive. */
  close(): void {
    this.ended = true;
    const untilMs = performance.now() + LINGER_MS;
    const look = () => {
      const nowMs = performance.now();
      this.pump(nowMs);
      if (this.link.settled || this.writer === null || nowMs >= untilMs) this.transport.close();
      else setTimeout(look, LINGER_LOOK_MS);
    };
    look();
  }

  private async run(token: Token): Promise<void> {
    const { transport } = this;
    transport.closed.then(
      () => {
        this.end("the server closed it");
      },
      (error: unknown) => {
        this.end(String(error));
      },
    );
    await transport.ready;
    transport.datagrams.incomingHighWaterMark = INCOMING_MAX;
    const stream = (await transport.createUnidirectionalStream()).getWriter();
    const proof = new Uint8Array(4 + token.keyUp.length);
    new DataView(proof.buffer).setUint32(0, token.number, true);
    proof.set(token.keyUp, 4);
    await stream.write(proof);
    await stream.close();
    this.writer = transport.datagrams.writable.getWriter();
    if (!this.ended) this.listener.opened();
    const reader = (transport.datagrams.readable as ReadableStream<Uint8Array>).getReader();
    for (let next = await reader.read(); !next.done; next = await reader.read()) this.take(next.value);
  }

  private take(datagram: Uint8Array): void {
    let messages: readonly Uint8Array[];
    try {
      messages = this.link.receive(datagram, performance.now());
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      if (!this.ended) this.listener.broken(error);
      return;
    }
    if (!this.ended) this.listener.heard(messages);
  }

  private end(reason: string): void {
    this.writer = null;
    if (this.ended) return;
    this.ended = true;
    this.listener.closed(reason);
  }
}
