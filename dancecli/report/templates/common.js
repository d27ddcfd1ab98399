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
const plural = (n, noun) => `${n} ${noun}${n === 1 ? '' : 's'}`;

// ---- light and dark
let redraw = () => {}; // a page that draws with the colours says how
const dark = () => root.dataset.theme
  ? root.dataset.theme === 'dark'
  : matchMedia('(prefers-color-scheme: dark)').matches;
const asked = /theme=(dark|light)/.exec(location.hash);
if (asked) root.dataset.theme = asked[1];
document.getElementById('theme').addEventListener('click', () => {
  root.dataset.theme = dark() ? 'light' : 'dark';
  redraw();
});
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => redraw());

// ---- clips
const seen = new IntersectionObserver((entries) => entries.forEach((entry) => {
  if (!entry.isIntersecting) return;
  seen.unobserve(entry.target);
  entry.target.preload = 'metadata';
}), {rootMargin: '200px'});

function picture(link, name) {
  const box = make('div', 'pic');
  if (!link) {
    box.textContent = 'no file known';
    return box;
  }
  const video = make('video');
  Object.assign(video, {preload: 'none', muted: true, loop: true, playsInline: true, src: link + '#t=0.5'});
  video.addEventListener('error', () => { box.replaceChildren('the file is not beside this page'); });
  const play = make('button', 'play');
  play.type = 'button';
  play.setAttribute('aria-label', `Play ${name}`);
  const toggle = () => (video.paused ? video.play() : video.pause());
  play.addEventListener('click', toggle);
  video.addEventListener('play', () => box.classList.add('playing'));
  video.addEventListener('pause', () => box.classList.remove('playing'));
  box.append(video, play);
  seen.observe(video);
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
    row.append(label, track, make('span', 'val', scores[i + 1].toFixed(2)));
    list.append(row);
  }
  return list;
}

// A link of 1 is the usual place, 0 an unknown one.
function frameCard(name, place, ...content) {
  const link = place === 1 ? `../../clips/${name}.mp4` : place || '';
  const text = make('div');
  const id = make('p', 'id');
  if (link) {
    const a = make('a', '', name);
    a.href = link;
    id.append(a);
  } else id.textContent = name;
  text.append(id, ...content);
  const node = make('article', 'card');
  node.append(picture(link, name), text);
  return node;
}

function fill(into, clips, card) {
  const cards = make('div', 'cards');
  const more = make('button', 'more');
  more.type = 'button';
  let shown = 0;
  const add = () => {
    clips.slice(shown, shown + PAGE).forEach((clip) => cards.append(card(clip)));
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
  let list = Object.keys(lists)[0];
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
    draw();
  }));
  filter.addEventListener('input', draw);
  draw();
}

// ---- tables that sort by the heading that is chosen
all('table.classes').forEach((table) => all('thead button', table).forEach((button) => {
  button.addEventListener('click', () => {
    const head = button.closest('th');
    const column = head.cellIndex;
    const up = head.getAttribute('aria-sort') === (column ? 'descending' : 'none');
    all('th[aria-sort]', table).forEach((th) => th.setAttribute('aria-sort', 'none'));
    head.setAttribute('aria-sort', up ? 'ascending' : 'descending');
    const value = (row) => Number(row.cells[column].dataset.value);
    const rows = [...table.tBodies[0].rows].sort((a, b) => (up ? value(a) - value(b) : value(b) - value(a)));
    table.tBodies[0].append(...rows);
  });
}));

// ---- subsets of the split
all('[data-show]').forEach((button) => button.addEventListener('click', () => {
  all('[data-show]').forEach((b) => b.setAttribute('aria-pressed', String(b === button)));
  all('.subset').forEach((node) => { node.hidden = node.dataset.subset !== button.dataset.show; });
  redraw();
}));

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
