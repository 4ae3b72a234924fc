/**
 * One link over datagrams, sans-I/O: messages in, datagrams out, and back (STANDARD.md §9.3).
 *
 * What may be lost goes into the next datagram and is forgotten; everything else goes through the reliable stream. Each datagram says
 * how much of the other's stream has come; when stream bytes came and there is nothing to say, an empty one says that soon.
 * Not responsible for: the carrier (webtransport.ts), when a link is given up (session.ts).
 */
import {
  KIND_MESSAGE,
  KIND_STREAM,
  OFFSET_BYTES,
  PART_HEAD_BYTES,
  parts,
  plaintext,
  RECEIVED_BYTES,
  StreamIn,
  StreamOut,
  streamPart,
  streamPiece,
  type Part,
} from "../protocol/datagrams";

/** How long stream bytes wait for a datagram that acknowledges them by the way. */
const ACKNOWLEDGE_MS = 20;
const SERVER_MESSAGE_BYTES_MAX = 1 << 20;

type Bytes = Uint8Array<ArrayBuffer>;

export class DatagramLink {
  private readonly out = new StreamOut();
  private readonly into = new StreamIn(SERVER_MESSAGE_BYTES_MAX);
  private messages: Uint8Array[] = [];
  private acknowledgeAtMs = Infinity;

  /** All that was said reliably has come. */
  get settled(): boolean {
    return this.out.waitingBytes === 0;
  }

  say(message: Uint8Array, mayBeLost: boolean): void {
    if (mayBeLost) this.messages.push(message);
    else this.out.push(message);
  }

  /** The datagrams to be sent now, none larger than `bytesMax`. A message that may be lost and is larger than that is. */
  take(nowMs: number, bytesMax: number): Bytes[] {
    const out: Bytes[] = [];
    const fits = bytesMax - RECEIVED_BYTES - PART_HEAD_BYTES;
    this.messages = this.messages.filter((message) => message.length <= fits);
    for (let said = this.parts(nowMs, bytesMax); said.length > 0; said = this.parts(nowMs, bytesMax)) {
      out.push(this.datagram(said));
    }
    if (out.length === 0 && nowMs >= this.acknowledgeAtMs) out.push(this.datagram([]));
    return out;
  }

  private parts(nowMs: number, bytesMax: number): Part[] {
    const said: Part[] = [];
    let room = bytesMax - RECEIVED_BYTES;
    for (let data = this.messages[0]; data !== undefined; data = this.messages[0]) {
      if (data.length + PART_HEAD_BYTES > room) break;
      said.push({ kind: KIND_MESSAGE, data });
      room -= data.length + PART_HEAD_BYTES;
      this.messages.shift();
    }
    const piece = this.out.take(nowMs, room - PART_HEAD_BYTES - OFFSET_BYTES);
    // Ahead of what may be lost: it came first.
    return piece === null ? said : [streamPart(piece), ...said];
  }

  private datagram(said: readonly Part[]): Bytes {
    this.acknowledgeAtMs = Infinity;
    return plaintext(this.into.received, said);
  }

  /** The messages that came with a datagram, each in a buffer of its own. Throws ProtocolError: the server broke the standard. */
  receive(datagram: Uint8Array, nowMs: number): Bytes[] {
    const { received, parts: said } = parts(datagram);
    this.out.acknowledged(received, nowMs);
    const messages: Bytes[] = [];
    for (const { kind, data } of said) {
      // Columns are laid over the bytes of a message, which must begin where they are aligned.
      if (kind === KIND_MESSAGE) messages.push(data.slice());
      else if (kind === KIND_STREAM) {
        this.acknowledgeAtMs = Math.min(this.acknowledgeAtMs, nowMs + ACKNOWLEDGE_MS);
        messages.push(...this.into.take(streamPiece(data)));
      }
    }
    return messages;
  }
}
