/** Helpers for small shapes that are merged. */
import { BufferAttribute, CircleGeometry, Color, MeshBasicMaterial, type BufferGeometry } from "three";

/** The geometry without index and texture coordinates, all of one colour: so that different ones can be merged. */
export function coloured(geometry: BufferGeometry, hex: string): BufferGeometry {
  const plain = geometry.index === null ? geometry : geometry.toNonIndexed();
  plain.deleteAttribute("uv");
  const color = new Color(hex);
  const count = plain.getAttribute("position").count;
  const values = new Float32Array(3 * count);
  for (let i = 0; i < count; i++) values.set([color.r, color.g, color.b], 3 * i);
  plain.setAttribute("color", new BufferAttribute(values, 3));
  return plain;
}

const PAINTS = [
  "#c8553d",
  "#2f6690",
  "#588157",
  "#8e6c8a",
  "#d4a373",
  "#3d5a80",
  "#b56576",
  "#6b705c",
  "#e09f3e",
  "#457b9d",
  "#7f5539",
  "#52796f",
];

const DYES = PAINTS.map((hex) => new Color(hex));
const GREY = new Color("#888888");

/** The colour that a world's component `colour` means on this page; not to be changed. */
export function dye(colour: number): Color {
  return DYES[colour % DYES.length] ?? GREY;
}

/** The soft dark spot under whatever stands on the ground, of radius 1 m. */
export const spot = new CircleGeometry(1, 16).rotateX(-Math.PI / 2);
export const spotMaterial = new MeshBasicMaterial({
  color: "#20242a",
  transparent: true,
  opacity: 0.28,
  depthWrite: false,
});
