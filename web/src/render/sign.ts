/**
 * Texts in a headset, which does not show the page: a board with the newest line, and the names of those near by. A texture is painted
 * when a text is new; nothing is made otherwise. Not responsible for: which texts.
 */
import {
  CanvasTexture,
  Group,
  Mesh,
  MeshBasicMaterial,
  PlaneGeometry,
  Sprite,
  SpriteMaterial,
  SRGBColorSpace,
  Vector3,
} from "three";

import type { Entity } from "../world/entities";

const SHOWN_S = 6;
const AHEAD_M = 1.4;
const BELOW_M = 0.45;
const NAMES_MAX = 10;
const NEAR_M = 14;
const ABOVE_M = 2.05;

export class Sign {
  readonly mesh: Mesh<PlaneGeometry, MeshBasicMaterial>;
  private readonly canvas = document.createElement("canvas");
  private readonly texture: CanvasTexture;
  private leftS = 0;
  private isNew = false;

  constructor() {
    [this.canvas.width, this.canvas.height] = [1024, 160];
    this.texture = new CanvasTexture(this.canvas);
    this.texture.colorSpace = SRGBColorSpace;
    const material = new MeshBasicMaterial({ map: this.texture, transparent: true, fog: false, depthTest: false });
    this.mesh = new Mesh(new PlaneGeometry(1.0, 0.156), material);
    this.mesh.renderOrder = 900;
    this.mesh.visible = false;
  }

  show(text: string): void {
    paint(this.canvas, text, 44);
    this.texture.needsUpdate = true;
    this.leftS = SHOWN_S;
    this.isNew = true;
  }

  /** A new text appears ahead of the eyes and then stays there in the world: nothing hangs on the head. */
  draw(dtS: number, eyeX: number, eyeY: number, eyeZ: number, yaw: number): void {
    this.leftS -= dtS;
    this.mesh.visible = this.leftS > 0;
    if (!this.isNew) return;
    this.isNew = false;
    this.mesh.position.set(eyeX - AHEAD_M * Math.sin(yaw), eyeY - BELOW_M, eyeZ - AHEAD_M * Math.cos(yaw));
    this.mesh.rotation.set(-0.3, yaw, 0, "YXZ");
  }
}

/** Names over the heads of the nearest. */
export class Names {
  readonly group = new Group();
  private readonly sprites: readonly { readonly sprite: Sprite; readonly canvas: HTMLCanvasElement; name: string }[];
  private readonly nearest: (Entity | null)[] = new Array<Entity | null>(NAMES_MAX).fill(null);
  private readonly distances = new Float64Array(NAMES_MAX);
  private readonly at = new Vector3();

  constructor() {
    this.sprites = Array.from({ length: NAMES_MAX }, () => {
      const canvas = document.createElement("canvas");
      [canvas.width, canvas.height] = [512, 96];
      const map = new CanvasTexture(canvas);
      map.colorSpace = SRGBColorSpace;
      const sprite = new Sprite(new SpriteMaterial({ map, transparent: true, fog: false }));
      sprite.scale.set(0.64, 0.12, 1);
      sprite.visible = false;
      this.group.add(sprite);
      return { sprite, canvas, name: "" };
    });
  }

  draw(all: readonly Entity[], eye: Vector3, nameOf: (id: bigint, number: number) => string): void {
    this.nearest.fill(null);
    this.distances.fill(NEAR_M);
    for (const entity of all) {
      const d = eye.distanceTo(this.at.set(entity.x, entity.y, entity.z));
      if (d >= (this.distances[NAMES_MAX - 1] ?? 0) || nameOf(entity.id, entity.number) === "") continue;
      let i = NAMES_MAX - 1;
      for (; i > 0 && d < (this.distances[i - 1] ?? 0); i--) {
        this.distances[i] = this.distances[i - 1] ?? 0;
        this.nearest[i] = this.nearest[i - 1] ?? null;
      }
      this.distances[i] = d;
      this.nearest[i] = entity;
    }
    for (let i = 0; i < NAMES_MAX; i++) {
      const slot = this.sprites[i];
      const entity = this.nearest[i];
      if (slot === undefined) continue;
      slot.sprite.visible = entity != null;
      if (entity == null) continue;
      const name = nameOf(entity.id, entity.number);
      if (name !== slot.name) {
        slot.name = name;
        paint(slot.canvas, name, 52);
        if (slot.sprite.material.map !== null) slot.sprite.material.map.needsUpdate = true;
      }
      slot.sprite.position.set(entity.x, entity.y + ABOVE_M, entity.z);
    }
  }
}

/** One line in the middle of a rounded board, cut off where there is no more room. */
function paint(canvas: HTMLCanvasElement, text: string, size: number): void {
  const g = canvas.getContext("2d");
  if (g === null) return;
  const { width, height } = canvas;
  g.clearRect(0, 0, width, height);
  g.font = `600 ${size}px system-ui, "DejaVu Sans", sans-serif`;
  let shown = text;
  while (g.measureText(shown).width > width - 2 * size && shown.length > 1) shown = `${shown.slice(0, -2).trimEnd()}…`;
  const board = g.measureText(shown).width + 1.2 * size;
  g.fillStyle = "rgb(20 32 43 / 78%)";
  g.beginPath();
  g.roundRect((width - board) / 2, (height - 1.7 * size) / 2, board, 1.7 * size, 0.6 * size);
  g.fill();
  g.fillStyle = "#ffffff";
  g.textAlign = "center";
  g.textBaseline = "middle";
  g.fillText(shown, width / 2, height / 2 + 2);
}
