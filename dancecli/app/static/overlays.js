"use strict";
// Over the clip that plays: the skeletons of its poses, and its optical flow, in step with the frame shown.
const overlay = {pose: false, flow: false, clip: null, poses: null, field: null, fieldFrame: -1, asking: false, frame: 0};
const SIDES = {left: "#ff9500", right: "#00aeff", middle: "#ffffff"};
const OTHERS = "#d65cff";

const frameAt = (seconds) => {
  const {fps_num, fps_den, num_frames} = overlay.clip;
  return Math.min(Math.max(Math.floor(seconds * fps_num / fps_den + 0.01), 0), num_frames - 1);
};

// The part of the canvas that shows the picture: the video keeps its shape within the box.
function pictureBox(canvas, video) {
  const scale = Math.min(canvas.width / (video.videoWidth || 1), canvas.height / (video.videoHeight || 1));
  const [width, height] = [video.videoWidth * scale, video.videoHeight * scale];
  return {x: (canvas.width - width) / 2, y: (canvas.height - height) / 2, width, height};
}

function drawOverlay() {
  const canvas = $("overlay");
  const video = $("video");
  const on = Boolean(overlay.clip) && !video.hidden && (overlay.pose || overlay.flow);
  canvas.hidden = !on;
  $("flow-legend").hidden = !(on && overlay.flow);
  if (!on) return;
  const ratio = devicePixelRatio || 1;
  const [width, height] = [Math.round(canvas.clientWidth * ratio), Math.round(canvas.clientHeight * ratio)];
  if (canvas.width !== width || canvas.height !== height) { canvas.width = width; canvas.height = height; }
  const pen = canvas.getContext("2d");
  pen.clearRect(0, 0, width, height);
  const box = pictureBox(canvas, video);
  if (overlay.flow && overlay.field && Math.abs(overlay.fieldFrame - overlay.frame) <= 2) {
    pen.drawImage(overlay.field, box.x, box.y, box.width, box.height);
  }
  if (overlay.pose && overlay.poses) drawPoses(pen, box, ratio);
  canvas.dataset.frame = String(overlay.frame);
}

function drawPoses(pen, box, ratio) {
  const {poses} = overlay;
  const scale = box.width / poses.width / 10;
  const line = Math.max(2, Math.min(box.width, box.height) / 150) * Math.sqrt(ratio);
  let drawn = 0;
  for (let person = poses.people.length - 1; person >= 0; person -= 1) {
    const points = pointsAt(poses, person, overlay.frame).map((xy) => xy && [box.x + xy[0] * scale, box.y + xy[1] * scale]);
    pen.lineCap = "round";
    for (const stroke of [{width: line + 3 * ratio, of: () => "rgb(0 0 0 / .55)"},
      {width: line, of: (side) => (person === 0 ? SIDES[side] : OTHERS)}]) {
      pen.lineWidth = stroke.width;
      for (const [one, two, side] of poses.bones) {
        if (!points[one] || !points[two]) continue;
        pen.strokeStyle = stroke.of(side);
        pen.beginPath();
        pen.moveTo(...points[one]);
        pen.lineTo(...points[two]);
        pen.stroke();
      }
    }
    for (const point of points.filter(Boolean)) {
      pen.fillStyle = "#fff";
      pen.beginPath();
      pen.arc(point[0], point[1], line * 0.75, 0, 2 * Math.PI);
      pen.fill();
      drawn += 1;
    }
  }
  $("overlay").dataset.joints = String(drawn);
}

// Poses are of every second or third frame; between two of them a joint moves straight on.
function pointsAt(poses, person, frame) {
  const {frames} = poses;
  let after = frames.findIndex((f) => f >= frame);
  if (after < 0) after = frames.length - 1;
  const before = frames[after] > frame && after > 0 ? after - 1 : after;
  const [one, two] = [poses.people[person][before], poses.people[person][after]];
  const share = before === after ? 0 : (frame - frames[before]) / (frames[after] - frames[before]);
  return one.map((xy, i) => {
    const to = two[i];
    if (!xy || !to) return share < 0.5 ? xy : to;
    return [xy[0] + share * (to[0] - xy[0]), xy[1] + share * (to[1] - xy[1])];
  });
}

async function loadPoses() {
  const {clip} = overlay;
  overlay.poses = null;
  const poses = await ask(`/api/pose/${encodeURIComponent(clip.clip_id)}?of=${clip.sha256}`);
  if (overlay.clip === clip) overlay.poses = poses;
}

// One question at a time: while the clip plays, frames are left out rather than queued.
async function loadFlow() {
  if (!overlay.flow || !overlay.clip || overlay.asking || overlay.fieldFrame === overlay.frame) return;
  const {clip, frame} = overlay;
  overlay.asking = true;
  try {
    const answer = await fetch(`/flow/${encodeURIComponent(clip.clip_id)}/${frame}?of=${clip.sha256}`);
    if (!answer.ok) throw new Error(await answer.text());
    const field = await createImageBitmap(await answer.blob());
    if (overlay.clip === clip) { overlay.field = field; overlay.fieldFrame = frame; $("overlay").dataset.flow = String(frame); }
  } catch (error) {
    turn("flow", "f", false);
    toast(error.message);
  } finally {
    overlay.asking = false;
  }
  drawOverlay();
  if (overlay.frame !== overlay.fieldFrame) loadFlow();
}

function turn(name, key, on) {
  overlay[name] = on;
  toggle(key, on);
}

function shownFrame(seconds) {
  if (!overlay.clip) return;
  overlay.frame = frameAt(seconds);
  drawOverlay();
  loadFlow();
}

KEYS.b = async () => {
  turn("pose", "b", !overlay.pose);
  if (overlay.pose && !overlay.poses) await loadPoses().catch((error) => { turn("pose", "b", false); toast(error.message); });
  drawOverlay();
};
KEYS.f = () => {
  turn("flow", "f", !overlay.flow);
  drawOverlay();
  return loadFlow();
};

// What is shown is known from the video itself: the time of the frame that is on the screen.
function follow() {
  const video = $("video");
  video.requestVideoFrameCallback((_, {mediaTime}) => { shownFrame(mediaTime); follow(); });
}

addEventListener("clip", ({detail}) => {
  Object.assign(overlay, {clip: detail, poses: null, field: null, fieldFrame: -1, frame: 0});
  if (detail && overlay.pose) loadPoses().then(drawOverlay, (error) => toast(error.message));
  if (detail) loadFlow();
  drawOverlay();
});
new ResizeObserver(drawOverlay).observe($("overlay").parentElement);
follow();

// Which color is which direction.
{
  const wheel = $("flow-wheel");
  const pen = wheel.getContext("2d");
  const {width} = wheel;
  const colors = pen.createConicGradient(0, width / 2, width / 2);
  for (let i = 0; i <= 12; i += 1) colors.addColorStop(i / 12, `hsl(${30 * i} 100% 50%)`);
  pen.fillStyle = colors;
  pen.beginPath();
  pen.arc(width / 2, width / 2, width / 2, 0, 2 * Math.PI);
  pen.fill();
  const center = pen.createRadialGradient(width / 2, width / 2, 0, width / 2, width / 2, width / 2);
  center.addColorStop(0, "rgb(0 0 0 / .9)");
  center.addColorStop(1, "rgb(0 0 0 / 0)");
  pen.fillStyle = center;
  pen.fill();
}
