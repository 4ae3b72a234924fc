/** Keyboard and mouse as wishes: which way, where to look. Not responsible for: what follows from them. */
import { BUTTON_JUMP, BUTTON_RUN } from "../protocol/layouts";

const MOVES: Readonly<Record<string, "forward" | "back" | "left" | "right" | "run" | "jump">> = {
  KeyW: "forward",
  ArrowUp: "forward",
  KeyS: "back",
  ArrowDown: "back",
  KeyA: "left",
  ArrowLeft: "left",
  KeyD: "right",
  ArrowRight: "right",
  ShiftLeft: "run",
  ShiftRight: "run",
  Space: "jump",
};
const RADIANS_PER_PIXEL = 0.0028;
const PITCH_MIN = -0.5;
const PITCH_MAX = 1.25;

export class Keys {
  private readonly held = new Set<string>();
  private dragging: number | null = null;
  /** Where the camera looks: radians, counter-clockwise seen from above, 0 along −Z. */
  yaw = 0;
  /** Positive looks down. */
  pitch = 0.28;

  constructor(canvas: HTMLCanvasElement) {
    window.addEventListener("keydown", (event) => {
      if (typing(event.target) || event.ctrlKey || event.metaKey || event.altKey || !(event.code in MOVES)) return;
      this.held.add(event.code);
      event.preventDefault();
    });
    window.addEventListener("keyup", (event) => this.held.delete(event.code));
    window.addEventListener("blur", () => {
      this.held.clear();
    });
    canvas.addEventListener("pointerdown", (event) => {
      this.dragging = event.pointerId;
      canvas.setPointerCapture(event.pointerId);
      canvas.focus();
    });
    canvas.addEventListener("dblclick", () => void canvas.requestPointerLock());
    canvas.addEventListener("pointermove", (event) => {
      if (document.pointerLockElement !== canvas && this.dragging !== event.pointerId) return;
      this.yaw -= event.movementX * RADIANS_PER_PIXEL;
      this.pitch = Math.min(PITCH_MAX, Math.max(PITCH_MIN, this.pitch + event.movementY * RADIANS_PER_PIXEL));
    });
    const release = () => {
      this.dragging = null;
    };
    canvas.addEventListener("pointerup", release);
    canvas.addEventListener("pointercancel", release);
  }

  /** Let go of everything: the person is writing now. */
  release(): void {
    this.held.clear();
  }

  /** The wished direction in world axes (length ≤ 1) and the buttons. */
  get wish(): { readonly moveX: number; readonly moveZ: number; readonly buttons: number } {
    const down = (name: string) => [...this.held].some((code) => MOVES[code] === name);
    const ahead = Number(down("forward")) - Number(down("back"));
    const aside = Number(down("right")) - Number(down("left"));
    const buttons = (down("run") ? BUTTON_RUN : 0) | (down("jump") ? BUTTON_JUMP : 0);
    const length = Math.hypot(ahead, aside);
    if (length === 0) return { moveX: 0, moveZ: 0, buttons };
    const [sin, cos] = [Math.sin(this.yaw), Math.cos(this.yaw)];
    return { moveX: (aside * cos - ahead * sin) / length, moveZ: (-aside * sin - ahead * cos) / length, buttons };
  }
}

function typing(target: EventTarget | null): boolean {
  return (
    target instanceof HTMLInputElement || target instanceof HTMLTextAreaElement || target instanceof HTMLSelectElement
  );
}
