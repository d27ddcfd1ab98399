'use strict';
(() => {
  const data = JSON.parse(document.getElementById('data').textContent);
  const labels = data.labels;
  const size = labels.length;
  const MOST_CELLS = 40; // a larger matrix is drawn as a picture
  const PAGE = 6;
  const PAPER = 680; // pixels across a printed page
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
  const dark = () => root.dataset.theme
    ? root.dataset.theme === 'dark'
    : matchMedia('(prefers-color-scheme: dark)').matches;
  const asked = /theme=(dark|light)/.exec(location.hash);
  if (asked) root.dataset.theme = asked[1];
  document.getElementById('theme').addEventListener('click', () => {
    root.dataset.theme = dark() ? 'light' : 'dark';
    views.forEach((view) => view.draw());
  });
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => views.forEach((v) => v.draw()));

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

  function card(clip) {
    const [name, place, truth, called, rank, scores] = clip;
    const link = place === 1 ? `../../clips/${name}.mp4` : place || '';
    const text = make('div');
    const id = make('p', 'id');
    if (link) {
      const a = make('a', '', name);
      a.href = link;
      id.append(a);
    } else id.textContent = name;
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
    text.append(id, list);
    if (rank > 4) text.append(make('p', 'place', `true class in place ${rank} of ${size}`));
    const node = make('article', 'card');
    node.append(picture(link, name), text);
    return node;
  }

  function fill(into, clips) {
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

  // ---- the matrix
  class Matrix {
    constructor(key) {
      this.part = data.parts[key];
      this.host = document.querySelector(`[data-matrix="${key}"]`);
      this.panel = document.querySelector(`[data-panel="${key}"]`);
      this.frame = this.host.closest('.part');
      this.numbers = 'counts';
      this.orders = {label: labels.map((_, i) => i), confusion: this.part.confusion, recall: this.part.recall};
      this.order = this.orders.label;
      this.counts = new Int32Array(size * size);
      this.sums = new Int32Array(size);
      this.part.clips.forEach(([, , truth, called]) => {
        this.counts[truth * size + called] += 1;
        this.sums[truth] += 1;
      });
      this.deepest = 0;
      let worst = null, most = 0;
      this.counts.forEach((n, at) => {
        const i = Math.floor(at / size), j = at % size;
        if (!n || i === j) return;
        this.deepest = Math.max(this.deepest, n / this.sums[i]);
        if (n > most) [worst, most] = [[i, j], n];
      });
      // A lone mistake in a small row should not look like a catastrophe.
      this.deepest = Math.max(this.deepest, 0.5);
      this.frame.querySelector('.miss-top').textContent = `${Math.round(100 * this.deepest)}\u202f%`;
      this.chosen = worst || [0, 0];
      all('.numbers', this.frame).forEach((node) => { node.hidden = size > MOST_CELLS; });
      this.wire();
      this.draw();
      this.show(...this.chosen);
    }

    share(i, j) {
      const rate = this.sums[i] ? this.counts[i * size + j] / this.sums[i] : 0;
      return i === j ? rate : rate / this.deepest;
    }

    text(i, j) {
      const n = this.counts[i * size + j];
      if (!n) return '';
      if (this.numbers === 'counts') return String(n);
      const rate = 100 * n / this.sums[i];
      return rate < 1 ? '<1' : rate.toFixed(0);
    }

    words(i, j) {
      const n = this.counts[i * size + j];
      const rate = this.sums[i] ? ` (${(100 * n / this.sums[i]).toFixed(1)} %)` : '';
      const how = i === j ? 'named right' : `taken for ${labels[j]}`;
      return `${n} of ${plural(this.sums[i], 'clip')} of ${labels[i]} ${how}${rate}`;
    }

    wire() {
      const press = (attribute, apply) => all(`[${attribute}]`, this.frame).forEach((button) => {
        button.addEventListener('click', () => {
          all(`[${attribute}]`, this.frame).forEach((b) => b.setAttribute('aria-pressed', String(b === button)));
          apply(button.getAttribute(attribute));
          this.draw();
        });
      });
      press('data-numbers', (value) => { this.numbers = value; });
      press('data-order', (value) => { this.order = this.orders[value]; });
      all('[data-pair]', this.frame).forEach((button) => button.addEventListener('click', () => {
        this.choose(...button.dataset.pair.split(',').map(Number));
        this.panel.scrollIntoView({block: 'nearest'});
      }));
    }

    choose(i, j) {
      this.chosen = [i, j];
      this.mark();
      this.show(i, j);
    }

    show(i, j) {
      const clips = this.part.clips.filter(([, , truth, called]) => truth === i && called === j);
      const score = ([, , , , , s]) => s[2 * s.filter((_, k) => k % 2 === 0).indexOf(j) + 1];
      clips.sort((a, b) => score(b) - score(a));
      const title = make('h3', '', i === j ? `${labels[i]}, named right` : `${labels[i]} taken for ${labels[j]}`);
      const n = this.counts[i * size + j];
      const rate = this.sums[i] ? `, ${(100 * n / this.sums[i]).toFixed(1)}\u202f%` : '';
      this.panel.replaceChildren(title, make('p', 'fine', `${n} of ${plural(this.sums[i], 'clip')}${rate}`));
      if (clips.length) fill(this.panel, clips);
    }

    draw(room) {
      if (size > MOST_CELLS) this.paint();
      else this.lay(room);
      this.mark();
    }

    // Fit the cells into the width there is; a phone scrolls sideways rather than shrink them further.
    measure(given) {
      const frame = this.host.parentElement;
      const beside = getComputedStyle(frame).gridTemplateColumns.includes(' ');
      const room = given || frame.clientWidth - (beside ? 380 : 0);
      const pen = make('canvas').getContext('2d');
      pen.font = `13.5px ${getComputedStyle(document.body).fontFamily}`;
      const widest = (texts) => Math.max(...texts.map((text) => pen.measureText(text).width));
      const longest = widest(labels);
      const side = Math.ceil(Math.min(longest + 18, Math.max(92, room * 0.3)));
      const cell = Math.max(26, Math.min(78, Math.floor((room - side - 8) / size) - 2));
      return [side, cell, widest(labels.flatMap((label) => label.split(/\s+/)))];
    }

    lay(room) {
      const [side, cell, word] = this.measure(room);
      // Where white on the ramp begins to read better than black, or the other way round at night.
      const deepAt = dark() ? [0.6, 0.61] : [0.9, 0.75];
      const table = make('table', word > cell ? 'cm tall' : 'cm');
      table.setAttribute('role', 'grid');
      table.setAttribute('aria-label', 'Confusion matrix: rows are true classes, columns predicted ones');
      table.style.setProperty('--cell', `${cell}px`);
      table.style.setProperty('--tall', `${Math.max(24, Math.min(cell, 52))}px`);
      table.style.setProperty('--side', `${side}px`);
      const head = make('tr');
      head.append(make('th', 'axis', 'true ↓\npredicted →'));
      this.order.forEach((j) => {
        const th = make('th');
        th.scope = 'col';
        th.append(make('span', '', labels[j]));
        head.append(th);
      });
      const body = make('tbody');
      this.order.forEach((i) => {
        const row = make('tr');
        const th = make('th', '', labels[i]);
        th.scope = 'row';
        row.append(th);
        this.order.forEach((j) => {
          const td = make('td', i === j ? 'hit' : '', this.text(i, j));
          const share = this.share(i, j);
          td.style.setProperty('--share', `${(100 * share).toFixed(1)}%`);
          if (share > deepAt[Number(i === j)]) td.classList.add('deep');
          td.dataset.cell = `${i},${j}`;
          td.tabIndex = -1;
          td.setAttribute('aria-label', this.words(i, j));
          td.title = this.words(i, j);
          row.append(td);
        });
        body.append(row);
      });
      const top = make('thead');
      top.append(head);
      table.append(top, body);
      const at = (event) => event.target.closest('td')?.dataset.cell.split(',').map(Number);
      table.addEventListener('click', (event) => { const c = at(event); if (c) this.choose(...c); });
      table.addEventListener('keydown', (event) => this.key(event, table, at(event)));
      const light = (event, on) => {
        const c = at(event);
        if (!c) return;
        table.tHead.rows[0].cells[this.order.indexOf(c[1]) + 1].classList.toggle('on', on);
        table.tBodies[0].rows[this.order.indexOf(c[0])].cells[0].classList.toggle('on', on);
      };
      table.addEventListener('mouseover', (event) => light(event, true));
      table.addEventListener('mouseout', (event) => light(event, false));
      this.host.replaceChildren(table);
    }

    key(event, table, cell) {
      const step = {ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1]}[event.key];
      if (!cell) return;
      if (event.key === 'Enter' || event.key === ' ') {
        this.choose(...cell);
        event.preventDefault();
      } else if (step) {
        const [row, column] = cell.map((c, k) => this.order.indexOf(c) + step[k]);
        const next = table.tBodies[0].rows[row]?.cells[column + 1];
        if (next && column >= 0) {
          all('td[tabindex="0"]', table).forEach((td) => { td.tabIndex = -1; });
          next.tabIndex = 0;
          next.focus();
        }
        event.preventDefault();
      }
    }

    mark() {
      if (size > MOST_CELLS) return;
      all('td', this.host).forEach((td) => {
        const on = td.dataset.cell === this.chosen.join(',');
        td.setAttribute('aria-selected', String(on));
        td.tabIndex = on ? 0 : -1;
      });
    }

    // Too many cells for a table: one pixel block a cell, read by pointing at it.
    paint() {
      const width = Math.min(760, this.host.parentElement.clientWidth);
      const block = Math.max(1, Math.floor(width / size));
      const canvas = make('canvas');
      canvas.width = canvas.height = size * block;
      canvas.style.maxWidth = '100%';
      canvas.setAttribute('role', 'img');
      canvas.setAttribute('aria-label', 'Confusion matrix; the pairs are listed in words below');
      const pen = canvas.getContext('2d');
      const probe = make('i');
      this.host.append(probe);
      const mixed = (end, share) => {
        probe.style.color = `color-mix(in oklab, var(--empty), var(${end}) ${share}%)`;
        return getComputedStyle(probe).color;
      };
      const ramps = ['--miss', '--hit'].map((end) => Array.from({length: 101}, (_, s) => mixed(end, s)));
      pen.fillStyle = ramps[0][0];
      pen.fillRect(0, 0, canvas.width, canvas.height);
      this.order.forEach((i, row) => this.order.forEach((j, column) => {
        if (!this.counts[i * size + j]) return;
        pen.fillStyle = ramps[Number(i === j)][Math.round(100 * this.share(i, j))];
        pen.fillRect(column * block, row * block, block, block);
      }));
      const readout = make('p', 'readout', 'Point at a cell to read it.');
      const at = (event) => {
        const box = canvas.getBoundingClientRect();
        const place = (offset, length) => Math.min(size - 1, Math.max(0, Math.floor(offset / length * size)));
        return [this.order[place(event.clientY - box.top, box.height)],
          this.order[place(event.clientX - box.left, box.width)]];
      };
      canvas.addEventListener('mousemove', (event) => { readout.textContent = this.words(...at(event)); });
      canvas.addEventListener('click', (event) => this.choose(...at(event)));
      this.host.replaceChildren(canvas, readout);
    }
  }

  const views = Object.keys(data.parts).map((key) => new Matrix(key));
  // ---- lists of clips
  const lists = {
    worst: ['the wrong answer with the most confidence over the true class first', (part) => part.worst],
    unsure: ['the lowest best score first', (part) => part.unsure],
    all: ['in order of their ids', (part) => part.clips.map((_, i) => i)],
  };
  all('[data-clips]').forEach((host) => {
    const part = data.parts[host.dataset.clips];
    const frame = host.closest('.part');
    const filter = frame.querySelector('.filter');
    let list = 'worst';
    const draw = () => {
      const text = filter.value.trim().toLowerCase();
      const [order, pick] = lists[list];
      const clips = pick(part).map((i) => part.clips[i]).filter(([name, , truth, called]) => !text
        || [name, labels[truth], labels[called]].some((held) => held.toLowerCase().includes(text)));
      host.replaceChildren();
      frame.querySelector('[data-about]').textContent = `${plural(clips.length, 'clip')}, ${order}.`;
      if (clips.length) fill(host, clips);
    };
    all('[data-list]', frame).forEach((button) => button.addEventListener('click', () => {
      all('[data-list]', frame).forEach((b) => b.setAttribute('aria-pressed', String(b === button)));
      list = button.dataset.list;
      draw();
    }));
    filter.addEventListener('input', draw);
    draw();
  });

  // Paper is white and narrow, whatever the screen was.
  let before;
  addEventListener('beforeprint', () => {
    before = root.dataset.theme;
    root.dataset.theme = 'light';
    views.forEach((view) => view.draw(PAPER));
  });
  addEventListener('afterprint', () => {
    if (before) root.dataset.theme = before;
    else delete root.dataset.theme;
    views.forEach((view) => view.draw());
  });

  let width = innerWidth;
  addEventListener('resize', () => {
    if (innerWidth !== width) views.forEach((view) => view.draw());
    width = innerWidth;
  });

  // ---- parts
  all('[data-show]').forEach((button) => button.addEventListener('click', () => {
    all('[data-show]').forEach((b) => b.setAttribute('aria-pressed', String(b === button)));
    all('.part').forEach((node) => { node.hidden = node.dataset.part !== button.dataset.show; });
    views.forEach((view) => view.draw());
  }));

  // ---- the table of classes
  all('.classes').forEach((table) => all('thead button', table).forEach((button) => {
    button.addEventListener('click', () => {
      const column = Number(button.dataset.key);
      const head = button.closest('th');
      const up = head.getAttribute('aria-sort') === (column ? 'descending' : 'none');
      all('th[aria-sort]', table).forEach((th) => th.setAttribute('aria-sort', 'none'));
      head.setAttribute('aria-sort', up ? 'ascending' : 'descending');
      const value = (row) => Number(row.cells[column].dataset.value);
      const rows = [...table.tBodies[0].rows].sort((a, b) => (up ? value(a) - value(b) : value(b) - value(a)));
      table.tBodies[0].append(...rows);
    });
  }));

  // ---- the commands
  const copy = document.getElementById('copy');
  if (!navigator.clipboard) copy.remove();
  else copy.addEventListener('click', async () => {
    await navigator.clipboard.writeText(document.getElementById('commands').textContent);
    copy.textContent = 'Copied';
    setTimeout(() => { copy.textContent = 'Copy'; }, 1500);
  });
})();
