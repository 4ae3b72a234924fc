/**
 * The renderer, the light and the sky. Adapts its resolution to what the machine can do.
 * Not responsible for: what stands on the stage (town.ts, figures.ts), the camera's way (camera.ts).
 */
import {
  BackSide,
  Color,
  DirectionalLight,
  Fog,
  Group,
  HemisphereLight,
  Mesh,
  MeshBasicMaterial,
  MeshLambertMaterial,
  PerspectiveCamera,
  PlaneGeometry,
  Scene,
  SphereGeometry,
  BufferAttribute,
  WebGLRenderer,
} from "three";

const HORIZON = "#dfe7ea";
const ZENITH = "#6f9fcb";
const SLOW_MS = 34;
const RATIO_MIN = 0.5;

export class Stage {
  readonly scene = new Scene();
  readonly camera = new PerspectiveCamera(55, 1, 0.15, 2000);
  /** What the camera rides on: where the room of somebody with a headset is in the world, otherwise the origin. */
  readonly rig = new Group();
  readonly renderer: WebGLRenderer;
  /** Metres: how far the town is drawn. */
  readonly viewM: number;
  private readonly sky: Mesh;
  private readonly floor: Mesh;
  private frameMs = 16;
  private ratio: number;
  private sinceChange = 0;

  /** `isWeak`: a set-top box or the like, which paints fewer pixels. Throws Error where WebGL 2 is missing. */
  constructor(canvas: HTMLCanvasElement, isWeak = false) {
    this.renderer = new WebGLRenderer({
      canvas,
      antialias: !isWeak && window.devicePixelRatio < 2,
      powerPreference: "high-performance",
    });
    const gl = this.renderer.getContext();
    const info = gl.getExtension("WEBGL_debug_renderer_info");
    const name = info === null ? "" : String(gl.getParameter(info.UNMASKED_RENDERER_WEBGL));
    const software = /swiftshader|llvmpipe|software/i.test(name);
    this.viewM = software || isWeak ? 380 : 900;
    this.ratio = software ? 0.75 : Math.min(isWeak ? 1 : 2, window.devicePixelRatio);

    this.scene.fog = new Fog(HORIZON, this.viewM * 0.3, this.viewM);
    this.scene.add(new HemisphereLight("#dbe8f5", "#c9bda8", 2.2));
    const sun = new DirectionalLight("#fff1d6", 2.9);
    sun.position.set(-0.5, 0.7, 0.6);
    this.scene.add(sun);

    this.sky = sky();
    this.floor = new Mesh(
      new PlaneGeometry(4000, 4000).rotateX(-Math.PI / 2),
      new MeshLambertMaterial({ color: "#c3bcae", depthTest: false, depthWrite: false }),
    );
    this.floor.renderOrder = -3;
    this.rig.add(this.camera);
    this.scene.add(this.sky, this.floor, this.rig);
    this.resize();
    window.addEventListener("resize", () => {
      this.resize();
    });
  }

  /** `dtS`: seconds since the last frame. */
  render(dtS: number): void {
    this.camera.getWorldPosition(this.sky.position);
    this.floor.position.set(this.sky.position.x, 0, this.sky.position.z);
    this.renderer.render(this.scene, this.camera);
    if (!this.renderer.xr.isPresenting) this.adapt(dtS);
  }

  private adapt(dtS: number): void {
    this.frameMs += (dtS * 1000 - this.frameMs) * 0.05;
    this.sinceChange += dtS;
    if (this.sinceChange < 2 || this.frameMs < SLOW_MS || this.ratio <= RATIO_MIN) return;
    this.ratio = Math.max(RATIO_MIN, this.ratio * 0.8);
    this.sinceChange = 0;
    this.resize();
  }

  /** To the size of the window; a headset has its own. */
  resize(): void {
    if (this.renderer.xr.isPresenting) return;
    const { innerWidth, innerHeight } = window;
    this.renderer.setPixelRatio(this.ratio);
    this.renderer.setSize(innerWidth, innerHeight, false);
    this.camera.aspect = innerWidth / Math.max(1, innerHeight);
    this.camera.updateProjectionMatrix();
  }
}

/** A dome around the camera, painted first. */
function sky(): Mesh {
  const dome = new SphereGeometry(1000, 16, 12);
  const [low, high, mixed] = [new Color(HORIZON), new Color(ZENITH), new Color()];
  const position = dome.getAttribute("position");
  const colors = new Float32Array(3 * position.count);
  for (let i = 0; i < position.count; i++) {
    mixed.copy(low).lerp(high, Math.min(1, Math.max(0, position.getY(i) / 1000)) ** 0.7);
    colors.set([mixed.r, mixed.g, mixed.b], 3 * i);
  }
  dome.setAttribute("color", new BufferAttribute(colors, 3));
  const mesh = new Mesh(
    dome,
    new MeshBasicMaterial({ vertexColors: true, side: BackSide, fog: false, depthTest: false, depthWrite: false }),
  );
  mesh.renderOrder = -4;
  mesh.frustumCulled = false;
  return mesh;
}
