'use strict';
const data = JSON.parse(document.getElementById('data').textContent);
const labels = data.labels;
const PAGE = 6;
const root = document.documentElement;

const all = (query, within = document) => [...within.querySelectorAll(query)];
// Text is only ever set as text: a label or a path that holds markup is shown, not run.
function make(tag, css, text) {
  const node = document.createElement(tag);
  if (css) node.className = css;
  if (text !== undefined) node.textContent = text;
  return node;
}
const plural = (n, noun) => `${n.toLocaleString('en-US')} ${noun}${n === 1 ? '' : 's'}`;

// ---- what is chosen stands in the address, so that it can be sent and outlives a reload
const start = location.hash.slice(1);
const state = new URLSearchParams(start.includes('=') ? start : start && {at: start});
function keep(key, value) {
  if (value) state.set(key, value);
  else state.delete(key);
  history.replaceState(null, '', `#${state}`);
}
all('nav a, .brand[href]').forEach((link) => link.addEventListener('click', (event) => {
  event.preventDefault();
  const id = link.hash.slice(1);
  keep('at', id);
  if (id) document.getElementById(id).scrollIntoView();
  else scrollTo(0, 0);
}));

// ---- light and dark
let redraw = () => {}; // a page that draws with the colors says how
const dark = () => root.dataset.theme
  ? root.dataset.theme === 'dark'
  : matchMedia('(prefers-color-scheme: dark)').matches;
if (['dark', 'light'].includes(state.get('theme'))) root.dataset.theme = state.get('theme');
document.getElementById('theme').addEventListener('click', () => {
  const next = dark() ? 'light' : 'dark';
  const system = matchMedia('(prefers-color-scheme: dark)').matches ? 'dark' : 'light';
  // Back at what the system has, it is followed again.
  if (next === system) delete root.dataset.theme;
  else root.dataset.theme = next;
  keep('theme', next === system ? '' : next);
  redraw();
});
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => redraw());

// ---- clips
const seen = new IntersectionObserver((entries) => entries.forEach((entry) => {
  if (!entry.isIntersecting) return;
  seen.unobserve(entry.target);
  entry.target.preload = 'metadata';
}), {rootMargin: '200px'});

// A still that is in the page itself is seen wherever the page is sent.
const stills = data.stills || {};

function picture(link, name) {
  const box = make('div', 'pic');
  const still = () => {
    const image = make('img');
    Object.assign(image, {src: stills[name], alt: `A frame of ${name}`});
    return image;
  };
  if (!link) {
    box.replaceChildren(stills[name] ? still() : 'no file known');
    return box;
  }
  const video = make('video');
  Object.assign(video, {preload: 'none', muted: true, loop: true, playsInline: true, src: link + '#t=0.5'});
  if (stills[name]) video.poster = stills[name];
  video.addEventListener('error', () => {
    box.replaceChildren(stills[name] ? still() : 'the file is not beside this page');
  });
  const play = make('button', 'play');
  play.type = 'button';
  play.setAttribute('aria-label', `Play ${name}`);
  const toggle = () => (video.paused ? video.play() : video.pause());
  play.addEventListener('click', toggle);
  video.addEventListener('play', () => box.classList.add('playing'));
  video.addEventListener('pause', () => box.classList.remove('playing'));
  const enlarge = make('button', 'enlarge', '⤢');
  enlarge.type = 'button';
  enlarge.title = 'Open large';
  enlarge.setAttribute('aria-label', `Open ${name} large`);
  box.append(video, play, enlarge);
  // Paper plays nothing: there the still stands for the clip.
  if (stills[name]) {
    const image = still();
    image.className = 'paper';
    box.append(image);
  }
  // With a still to show, nothing is read before it is played.
  if (!stills[name]) seen.observe(video);
  return box;
}

// Scores of a clip, the best first; the true class in blue, a wrong answer in orange.
function scoreList(scores, truth, called) {
  const list = make('ol', 'scores');
  for (let i = 0; i < scores.length; i += 2) {
    const row = make('li', scores[i] === truth ? 'truth' : scores[i] === called ? 'wrong' : '');
    const bar = make('i');
    bar.style.width = `${100 * scores[i + 1]}%`;
    const track = make('span', 'track');
    track.append(bar);
    const label = make('span', 'name', labels[scores[i]]);
    label.title = labels[scores[i]];
    row.append(label, track, make('span', 'val', scores[i + 1] > 0 && scores[i + 1] < 0.005 ? '<.01' : scores[i + 1].toFixed(2)));
    list.append(row);
  }
  return list;
}

// A link of two letters is the folder of the usual place, 1 a bundle's only folder, 0 an unknown place.
function frameCard(name, place, ...content) {
  const link = linkOf(name, place);
  const text = make('div');
  const id = make('p', 'id');
  if (link) {
    const a = make('a', '', name);
    a.href = link;
    id.append(a);
  } else id.textContent = name;
  const source = sourceLink(name);
  if (source) id.append(' ', source);
  text.append(id, ...content);
  const node = make('article', 'card');
  node.append(picture(link, name), text);
  return node;
}

const flat = typeof data.clips === 'string' ? data.clips : '../../clips/';
const linkOf = (name, place) => (place === 1 ? `${flat}${name}.mp4`
  : String(place).length === 2 ? `../../clips/${place}/${name}.mp4` : place || '');

// A clip's name is its video's id, start and end in milliseconds: its source can be opened at its second.
const watchable = new Set(data.watch && data.watch.clips !== 1 ? data.watch.clips : []);
function sourceLink(name) {
  if (!data.watch || (data.watch.clips !== 1 && !watchable.has(name))) return null;
  const [, video, from] = /^(.+)_(\d+)_\d+$/.exec(name) || [];
  if (!video) return null;
  const link = make('a', 'source', 'source');
  link.href = `${data.watch.url}${video}&t=${Math.floor(from / 1000)}s`;
  link.rel = 'noreferrer noopener';
  link.target = '_blank';
  link.title = 'Open the video at its site, where the clip begins';
  return link;
}

// ---- one clip at full size
const viewer = {
  // A page may name an example of the class that a clip was taken for: [name, place, class].
  example: () => null,

  build() {
    const box = make('dialog', 'viewer');
    this.videos = make('div', 'stage');
    this.side = make('div', 'beside');
    const bar = make('div', 'tools');
    const button = (text, title, act) => {
      const node = make('button', '', text);
      node.type = 'button';
      node.title = title;
      node.addEventListener('click', act);
      bar.append(node);
      return node;
    };
    button('‹', 'Previous clip (←)', () => this.step(-1));
    this.count = make('span', 'fine');
    bar.append(this.count);
    button('›', 'Next clip (→)', () => this.step(1));
    button('−1', 'One frame back (,)', () => this.frame(-1));
    button('+1', 'One frame on (.)', () => this.frame(1));
    this.speed = button('1×', 'Speed (s)', () => this.slow());
    this.loop = button('Loop', 'Repeat (l)', () => this.repeat());
    this.compare = button('Compare', 'Show a clip of the class it was taken for (c)', () => this.beside());
    button('Close', 'Close (Esc)', () => box.close());
    box.append(bar, this.videos, this.side);
    box.addEventListener('close', () => { this.videos.replaceChildren(); keep('clip', ''); });
    box.addEventListener('keydown', (event) => {
      const act = {
        ArrowLeft: () => this.step(-1), ArrowRight: () => this.step(1), ',': () => this.frame(-1),
        '.': () => this.frame(1), s: () => this.slow(), l: () => this.repeat(), c: () => this.beside(),
      }[event.key];
      // The arrows seek in a video that has the focus.
      if (!act || event.ctrlKey || event.metaKey || event.altKey) return;
      event.preventDefault();
      act();
    });
    document.body.append(box);
    this.box = box;
    this.rate = 1;
    this.looping = true;
  },

  open(clips, at, card) {
    if (!this.box) this.build();
    Object.assign(this, {clips, at, card});
    this.box.showModal();
    this.show();
  },

  video(name, place, caption) {
    const figure = make('figure');
    const video = make('video');
    Object.assign(video, {controls: true, loop: this.looping, autoplay: true, muted: true, playsInline: true,
      src: linkOf(name, place)});
    if (stills[name]) video.poster = stills[name];
    video.addEventListener('loadedmetadata', () => { video.playbackRate = this.rate; });
    video.addEventListener('error', () => {
      video.replaceWith(make('p', 'fine', 'The file is not beside this page.'));
    });
    figure.append(video, make('figcaption', 'fine', caption));
    return figure;
  },

  show() {
    const clip = this.clips[this.at];
    this.pair = false;
    this.videos.replaceChildren(this.video(clip[0], clip[1], `${labels[clip[2]]} · ${clip[0]}`));
    this.side.replaceChildren(this.card(clip).lastElementChild);
    this.count.textContent = `${this.at + 1} of ${this.clips.length}`;
    this.compare.hidden = !this.example(clip);
    keep('clip', clip[0]);
  },

  step(by) {
    this.at = (this.at + by + this.clips.length) % this.clips.length;
    this.show();
  },

  frame(by) {
    all('video', this.videos).forEach((video) => {
      video.pause();
      video.currentTime = Math.max(0, video.currentTime + by / 25);
    });
  },

  slow() {
    this.rate = {1: 0.5, 0.5: 0.25, 0.25: 1}[this.rate];
    this.speed.textContent = `${this.rate}×`;
    all('video', this.videos).forEach((video) => { video.playbackRate = this.rate; });
  },

  repeat() {
    this.looping = !this.looping;
    this.loop.textContent = this.looping ? 'Loop' : 'Once';
    all('video', this.videos).forEach((video) => { video.loop = this.looping; });
  },

  beside() {
    const other = this.example(this.clips[this.at]);
    if (!other) return;
    this.pair = !this.pair;
    if (this.pair) this.videos.append(this.video(other[0], other[1], `${labels[other[2]]} · ${other[0]}`));
    else this.videos.lastElementChild.remove();
  },
};

function fill(into, clips, card) {
  const cards = make('div', 'cards');
  const more = make('button', 'more');
  more.type = 'button';
  let shown = 0;
  const add = () => {
    clips.slice(shown, shown + PAGE).forEach((clip, i) => {
      const node = card(clip);
      const at = shown + i;
      node.querySelector('.enlarge')?.addEventListener('click', () => viewer.open(clips, at, card));
      cards.append(node);
    });
    shown = Math.min(clips.length, shown + PAGE);
    more.hidden = shown >= clips.length;
    more.textContent = `Show more (${clips.length - shown} left)`;
  };
  more.addEventListener('click', add);
  add();
  into.append(cards, more);
}

// One of several lists of clips at a time, cut down by a text that their id or a class must hold.
function browse(frame, host, lists, card, classesOf) {
  const filter = frame.querySelector('.filter');
  const key = frame.dataset.subset || '';
  const kept = state.get(`list${key}`);
  let list = kept in lists ? kept : Object.keys(lists)[0];
  filter.value = state.get(`filter${key}`) || '';
  all('[data-list]', frame).forEach((b) => b.setAttribute('aria-pressed', String(b.dataset.list === list)));
  const draw = () => {
    const text = filter.value.trim().toLowerCase();
    const [order, listed] = lists[list];
    const holds = (clip) => [clip[0], ...classesOf(clip).map((i) => labels[i])]
      .some((held) => held.toLowerCase().includes(text));
    const clips = text ? listed.filter(holds) : listed;
    host.replaceChildren();
    const about = plural(clips.length, 'clip') + (clips.length ? `, ${order}` : '');
    frame.querySelector('[data-about]').textContent = `${about}.`;
    if (clips.length) fill(host, clips, card);
  };
  all('[data-list]', frame).forEach((button) => button.addEventListener('click', () => {
    all('[data-list]', frame).forEach((b) => b.setAttribute('aria-pressed', String(b === button)));
    list = button.dataset.list;
    keep(`list${key}`, list);
    draw();
  }));
  filter.addEventListener('input', () => { keep(`filter${key}`, filter.value.trim()); draw(); });
  draw();
  const named = state.get('clip');
  const at = named ? lists[list][1].findIndex((clip) => clip[0] === named) : -1;
  if (at >= 0 && !frame.hidden) viewer.open(lists[list][1], at, card);
}

// ---- tables that sort by the heading that is chosen
all('table.classes').forEach((table, number) => all('thead button', table).forEach((button) => {
  const sort = (up) => {
    const head = button.closest('th');
    const column = head.cellIndex;
    all('th[aria-sort]', table).forEach((th) => th.setAttribute('aria-sort', 'none'));
    head.setAttribute('aria-sort', up ? 'ascending' : 'descending');
    const texts = table.tBodies[0].rows[0]?.cells[column].dataset.text !== undefined;
    const value = (row) => (texts ? row.cells[column].dataset.text : Number(row.cells[column].dataset.value));
    const order = texts ? (a, b) => value(a).localeCompare(value(b)) : (a, b) => value(a) - value(b);
    const rows = [...table.tBodies[0].rows].sort((a, b) => (up ? order(a, b) : order(b, a)));
    table.tBodies[0].append(...rows);
    return column;
  };
  button.addEventListener('click', () => {
    const head = button.closest('th');
    const up = head.getAttribute('aria-sort') === (head.cellIndex ? 'descending' : 'none');
    keep(`sort${number}`, `${sort(up)}${up ? 'up' : 'down'}`);
  });
  const kept = /^(\d+)(up|down)$/.exec(state.get(`sort${number}`) || '');
  if (kept && Number(kept[1]) === button.closest('th').cellIndex) sort(kept[2] === 'up');
}));

// ---- tables cut down by a text that a row's head must hold
all('[data-rows]').forEach((input) => input.addEventListener('input', () => {
  const text = input.value.trim().toLowerCase();
  all('tbody tr', input.closest('section')).forEach((row) => {
    row.hidden = !row.cells[0].textContent.toLowerCase().includes(text);
  });
}));

// ---- charts: what the lines are worth where one points
all('svg[data-hover]').forEach((svg) => {
  const {x, y, label} = JSON.parse(svg.dataset.hover);
  const value = ([low, high, from, to, log, factor, unit, digits], at) => {
    const share = (at - from) / (to - from);
    const found = log ? low * (high / low) ** share : low + share * (high - low);
    const shown = log ? found.toPrecision(3) : (factor * found).toFixed(digits);
    return `${Number(shown)}${unit}`;
  };
  const out = svg.parentElement.querySelector('.readout');
  const lines = all('path.line', svg).map((path) => ({
    path, points: path.getAttribute('d').slice(1).split('L').map((pair) => pair.split(' ').map(Number)),
  }));
  const space = 'http://www.w3.org/2000/svg';
  const guide = document.createElementNS(space, 'line');
  guide.setAttribute('class', 'guide');
  const marks = document.createElementNS(space, 'g');
  let at = null; // where the values are read, of the points of the first line shown
  const read = (to) => {
    const shown = lines.filter(({path}) => !path.dataset.key || path.classList.contains('on'));
    const near = shown.map(({path, points}) => [path, points.reduce((a, b) => (
      Math.abs(b[0] - to) < Math.abs(a[0] - to) ? b : a))]);
    if (!near.length) return;
    const first = near.map(([, p]) => p[0]).reduce((a, b) => (Math.abs(b - to) < Math.abs(a - to) ? b : a));
    at = first;
    ['x1', 'x2'].forEach((key) => guide.setAttribute(key, first));
    guide.setAttribute('y1', y[3]);
    guide.setAttribute('y2', y[2]);
    marks.replaceChildren(...near.map(([, p]) => {
      const dot = document.createElementNS(space, 'circle');
      Object.entries({cx: p[0], cy: p[1], r: 4, class: 'mark'}).forEach((pair) => dot.setAttribute(...pair));
      return dot;
    }));
    svg.append(guide, marks);
    out.textContent = `${label.split(':')[0]} ${value(x, first)}: `
      + near.map(([path, p]) => `${path.dataset.name} ${value(y, p[1])}`).join(', ');
  };
  const leave = () => { guide.remove(); marks.remove(); out.textContent = ''; at = null; };
  svg.addEventListener('pointermove', (event) => {
    const box = svg.getBoundingClientRect();
    read((event.clientX - box.left) / box.width * svg.viewBox.baseVal.width);
  });
  svg.addEventListener('pointerleave', leave);
  svg.addEventListener('blur', leave);
  svg.addEventListener('keydown', (event) => {
    const step = {ArrowLeft: -1, ArrowRight: 1}[event.key];
    if (!step) return;
    event.preventDefault();
    const {points} = lines.find(({path}) => !path.dataset.key || path.classList.contains('on')) || lines[0];
    const from = at === null ? (step > 0 ? -1 : points.length) : points.findIndex(([px]) => px >= at - 1e-6);
    const by = step * Math.max(1, Math.round(points.length / 60));
    read(points[Math.min(points.length - 1, Math.max(0, from + (at === null ? step : by)))][0]);
  });
});
all('[data-pick]').forEach((select, number) => {
  const paths = all('path[data-key]', select.closest('.subset'));
  const pick = () => paths.forEach((path) => path.classList.toggle('on', path.dataset.key === select.value));
  const kept = state.get(`class${number}`);
  if ([...select.options].some((option) => option.value === kept)) select.value = kept;
  select.addEventListener('change', () => { keep(`class${number}`, select.value); pick(); });
  pick();
});

// ---- subsets of the split
function choose(subset) {
  all('[data-show]').forEach((b) => b.setAttribute('aria-pressed', String(b.dataset.show === subset)));
  all('.subset').forEach((node) => { node.hidden = node.dataset.subset !== subset; });
}
all('[data-show]').forEach((button) => button.addEventListener('click', () => {
  choose(button.dataset.show);
  keep('subset', button.dataset.show);
  redraw();
}));
if (all('[data-show]').some((b) => b.dataset.show === state.get('subset'))) choose(state.get('subset'));
addEventListener('load', () => document.getElementById(state.get('at') || '')?.scrollIntoView());

// ---- what can be copied
all('.copy').forEach((box) => {
  const copy = box.querySelector('button');
  if (!navigator.clipboard) copy.remove();
  else copy.addEventListener('click', async () => {
    await navigator.clipboard.writeText(box.querySelector('code').textContent);
    copy.textContent = 'Copied';
    setTimeout(() => { copy.textContent = 'Copy'; }, 1500);
  });
});
