/** `window.isthmus`: what this page shows, read-only, for tests and the curious. */
import type { Game } from "./game";
import type { MapLoader } from "./map/loader";
import type { Shell } from "./net/shell";
import { newPose, PART_STRIDE, PARTS, type Pose } from "./protocol/poses";
import type { Stage } from "./render/stage";
import type { Keys } from "./ui/keys";
import type { Vr } from "./xr/vr";

export interface ChatEntry {
  readonly scope: number;
  readonly from: bigint;
  readonly name: string;
  readonly text: string;
}

interface Parts {
  readonly game: Game;
  readonly shell: Shell;
  readonly map: MapLoader | null;
  readonly chatLog: readonly ChatEntry[];
  readonly stage: Stage;
  readonly keys: Keys;
  readonly vr: Vr;
}

/** Everything is computed when it is read; ids are strings, so that the state passes as JSON. */
export function debugState(parts: () => Parts): void {
  const state = {
    get state() {
      return parts().shell.session.state;
    },
    get carrier() {
      return parts().shell.session.overDatagrams ? "WebTransport" : "WebSocket";
    },
    /** Why this page is not on datagrams, as far as it was told. */
    get datagramProblem() {
      return parts().shell.session.upgrading.problem;
    },
    get body() {
      return parts().game.welcome?.body?.toString() ?? null;
    },
    get session() {
      return parts().game.welcome?.session.toString() ?? null;
    },
    get tick() {
      return parts().game.entities.records.tick;
    },
    get rttMs() {
      return parts().game.clock?.rttMs ?? null;
    },
    /** Where the own body is shown: [x, y, z] in metres. */
    get position() {
      return parts().game.body?.feet ?? null;
    },
    /** `position`: as drawn; `record`: the standard's shown position at the same tick. */
    get entities() {
      const { game } = parts();
      const tick = game.clock?.shownTick(performance.now()) ?? 0;
      return [...game.entities.all].map((entity) => ({
        id: entity.id.toString(),
        kind: game.entities.kindName(entity.kind),
        name: game.nameOf(entity.id, entity.number),
        position: [entity.x, entity.y, entity.z],
        record: game.entities.records.shown(entity.number, tick),
        components: game.entities.componentsOf(entity.number),
      }));
    },
    /** Heads and hands of others as drawn: by entity id, [x, y, z, and the rotation x, y, z, w] of each part in the world, or null. */
    get poses() {
      const { game } = parts();
      const pose = newPose();
      const shown = game.entities.all.filter(({ number }) => game.poses.shown(number, game.tick, pose));
      return Object.fromEntries(
        shown.map(({ id, number, x, y, z }) => {
          game.poses.shown(number, game.tick, pose);
          return [id.toString(), partsOf(pose, [x, y, z])];
        }),
      );
    },
    /** This page in a headset; null: it is on no head. */
    get headset() {
      const { vr } = parts();
      if (!vr.isOn) return null;
      const { rig, arc } = vr;
      return {
        origin: [rig.x, rig.y, rig.z],
        yaw: rig.yaw,
        fade: rig.fade,
        apartM: rig.apartM,
        parts: partsOf(vr.pose, [0, 0, 0]),
        said: vr.said,
        holds: [vr.holds(1)?.toString() ?? null, vr.holds(2)?.toString() ?? null],
        aim: vr.isAiming ? { x: arc.x, z: arc.z, isOpen: arc.isOpen } : null,
      };
    },
    /** How many are only counted. */
    get crowd() {
      return parts().game.crowd.total;
    },
    get people() {
      return parts().game.people.sorted.map(([, name]) => name);
    },
    get chat() {
      return parts().chatLog.map((entry) => ({ ...entry, from: entry.from.toString() }));
    },
    get correctionMaxM() {
      return parts().game.ownCorrectionMaxM;
    },
    /** How often the prediction was put right, by whatever moved the body. */
    get corrections() {
      return parts().game.predictor?.corrections ?? 0;
    },
    /** Whether walking is predicted here: the map around the body has been loaded. */
    get predicting() {
      const { game, map } = parts();
      const now = game.predictor?.now ?? null;
      return now !== null && (map?.covers(now.x, now.z) ?? true);
    },
    /** Where the camera looks, radians: counter-clockwise seen from above, 0 along −Z. */
    get yaw() {
      return parts().keys.yaw;
    },
    get unacknowledged() {
      return parts().game.predictor?.unacknowledged ?? 0;
    },
    get tiles() {
      return parts().map?.count ?? 0;
    },
    get rejected() {
      return parts().shell.rejected;
    },
    get drawCalls() {
      return parts().stage.renderer.info.render.calls;
    },
  };
  Object.defineProperty(window, "isthmus", { value: Object.freeze(state), writable: false });
}

function partsOf(pose: Pose, from: readonly [number, number, number]): (number[] | null)[] {
  return Array.from({ length: PARTS }, (_, part) => {
    if ((pose.tracked & (1 << part)) === 0) return null;
    const values = [...pose.parts.subarray(part * PART_STRIDE, (part + 1) * PART_STRIDE)];
    return values.map((value, k) => value + (from[k] ?? 0));
  });
}
