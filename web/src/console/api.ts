/** The operators' API. What lets somebody in travels in a header alone, and is kept for this tab alone. */
import type { Act } from "./model";

const KEY = "isthmus.operator";

/** The server said no, or nothing. `status` 0: it cannot be reached. */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    text: string,
  ) {
    super(text);
  }
}

export class Api {
  private secret = sessionStorage.getItem(KEY) ?? "";

  get hasSecret(): boolean {
    return this.secret !== "";
  }

  signIn(secret: string): void {
    this.secret = secret;
    sessionStorage.setItem(KEY, secret);
  }

  signOut(): void {
    this.secret = "";
    sessionStorage.removeItem(KEY);
  }

  async get<T>(path: string, query: Readonly<Record<string, string | number>> = {}): Promise<T> {
    const url = new URL(`/api/operator/${path}`, location.href);
    for (const [name, value] of Object.entries(query)) url.searchParams.set(name, String(value));
    return (await this.ask(url, {})) as T;
  }

  /** Returns the number of the entry in the log. */
  async act(act: Act): Promise<number> {
    const url = new URL("/api/operator/acts", location.href);
    const asked = { method: "POST", body: JSON.stringify(act), headers: { "Content-Type": "application/json" } };
    return ((await this.ask(url, asked)) as { number: number }).number;
  }

  private async ask(
    url: URL,
    init: Omit<RequestInit, "headers"> & { headers?: Record<string, string> },
  ): Promise<unknown> {
    let response: Response;
    try {
      const headers = { ...init.headers, Authorization: `Bearer ${this.secret}` };
      response = await fetch(url, { ...init, headers, cache: "no-store", credentials: "omit" });
    } catch {
      throw new ApiError(0, "the gateway does not answer");
    }
    const answer = (await response.json().catch(() => ({}))) as { text?: string };
    if (!response.ok) throw new ApiError(response.status, answer.text ?? `the gateway answered ${response.status}`);
    return answer;
  }
}
