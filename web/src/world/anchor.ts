/** Where on Earth a point of the world is (STANDARD.md §3, `anchor`): X east, Z south, WGS 84. */
import type { Vec3 } from "../protocol/layouts";

const SEMI_MAJOR_M = 6378137;
const ECCENTRICITY2 = 6.69437999014e-3;

/**
 * Latitude and longitude in degrees by the ellipsoid's radii of curvature at the anchor. At 60° north this is off from the importer's
 * projection by 0.15 m at 1 km from the anchor and 0.6 m at 2 km (by the square of the distance): for display only.
 */
export function toLatLon(anchor: Vec3, x: number, z: number): readonly [number, number] {
  const latitude = (anchor[0] * Math.PI) / 180;
  const w = Math.sqrt(1 - ECCENTRICITY2 * Math.sin(latitude) ** 2);
  const meridian = (SEMI_MAJOR_M * (1 - ECCENTRICITY2)) / w ** 3;
  const prime = SEMI_MAJOR_M / w;
  const degrees = 180 / Math.PI;
  return [anchor[0] - (z / meridian) * degrees, anchor[1] + (x / (prime * Math.cos(latitude))) * degrees];
}
