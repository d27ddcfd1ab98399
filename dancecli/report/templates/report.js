'use strict';
(() => {
  const size = labels.length;
  const MOST_CELLS = 40; // a larger matrix is drawn as a picture, and beside it the classes most confused
  const FEW = 22;
  const PAPER = 640; // pixels across a printed page
  const AXIS = ['true ↓', 'predicted →'];

  function card([name, place, truth, called, rank, scores]) {
    const far = rank > 4 ? [make('p', 'place', `true class in place ${rank} of ${size}`)] : [];
    return frameCard(name, place, scoreList(scores, truth, called), ...far);
  }

  // ---- the matrix
  class Matrix {
    constructor(key) {
      this.subset = data.subsets[key];
      this.host = document.querySelector(`[data-matrix="${key}"]`);
      this.panel = document.querySelector(`[data-panel="${key}"]`);
      this.frame = this.host.closest('.subset');
      this.numbers = 'counts';
      this.orders = {label: labels.map((_, i) => i), confusion: this.subset.confusion, recall: this.subset.recall};
      this.order = this.orders.label;
      this.shown = null; // the classes in the matrix; null for all
      this.counts = new Int32Array(size * size);
      this.sums = new Int32Array(size);
      this.subset.clips.forEach(([, , truth, called]) => {
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
      this.name = key;
      const [subset, ...cell] = (state.get('cell') || '').split(',');
      if (subset === key && cell.every((c) => Number(c) >= 0 && Number(c) < size)) this.chosen = cell.map(Number);
      if (size > MOST_CELLS) this.shown = this.confused();
      this.wire();
      this.draw();
      this.show(...this.chosen);
    }

    get large() { return !this.shown && size > MOST_CELLS; }

    // The classes in the pairs that are confused most often, up to so many; around one class if it is given.
    confused(around = -1) {
      const pairs = [];
      this.counts.forEach((n, at) => {
        const pair = [Math.floor(at / size), at % size];
        if (n && pair[0] !== pair[1] && (around < 0 || pair.includes(around))) pairs.push([n, ...pair]);
      });
      pairs.sort((a, b) => b[0] - a[0] || a[1] - b[1] || a[2] - b[2]);
      const found = new Set(around < 0 ? [] : [around]);
      pairs.forEach(([, ...pair]) => {
        if (new Set([...found, ...pair]).size <= FEW) pair.forEach((i) => found.add(i));
      });
      return found.size ? found : new Set([0]);
    }

    get rows() { return this.shown ? this.order.filter((i) => this.shown.has(i)) : this.order; }

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
      const how = i === j ? 'correct' : `taken for ${labels[j]}`;
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
      press('data-extent', (value) => {
        this.shown = value === 'all' ? null : this.confused();
        all('[data-around]', this.frame).forEach((input) => { input.value = ''; });
        keep(`around${this.name}`, '');
      });
      all('[data-around]', this.frame).forEach((input) => {
        const look = () => {
          const text = input.value.trim().toLowerCase();
          const exact = labels.findIndex((label) => label.toLowerCase() === text);
          const near = exact >= 0 ? exact : labels.findIndex((label) => label.toLowerCase().includes(text));
          keep(`around${this.name}`, input.value.trim());
          if (text && near < 0) return;
          this.shown = this.confused(text ? near : -1);
          all('[data-extent]', this.frame).forEach((b) => (
            b.setAttribute('aria-pressed', String(!text && b.dataset.extent === 'few'))));
          this.draw();
        };
        input.value = state.get(`around${this.name}`) || '';
        input.addEventListener('input', look);
        if (input.value) look();
      });
      all('[data-pair]', this.frame).forEach((button) => button.addEventListener('click', () => {
        this.choose(...button.dataset.pair.split(',').map(Number));
        this.panel.scrollIntoView({block: 'nearest'});
      }));
    }

    choose(i, j) {
      this.chosen = [i, j];
      keep('cell', `${this.name},${i},${j}`);
      this.mark();
      this.show(i, j);
    }

    show(i, j) {
      const clips = this.subset.clips.filter(([, , truth, called]) => truth === i && called === j);
      const score = ([, , , , , s]) => s[2 * s.filter((_, k) => k % 2 === 0).indexOf(j) + 1];
      clips.sort((a, b) => score(b) - score(a));
      const title = make('h3', '', i === j ? `${labels[i]}, correct` : `${labels[i]} taken for ${labels[j]}`);
      const n = this.counts[i * size + j];
      const rate = this.sums[i] ? `, ${(100 * n / this.sums[i]).toFixed(1)}\u202f%` : '';
      this.panel.replaceChildren(title, make('p', 'fine', `${n} of ${plural(this.sums[i], 'clip')}${rate}`));
      if (clips.length) fill(this.panel, clips, card);
    }

    draw(room) {
      all('.numbers', this.frame).forEach((node) => { node.hidden = this.large; });
      if (this.large) this.paint();
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
      const names = this.rows.map((i) => labels[i]);
      const longest = widest([...names, AXIS[1]]);
      const side = Math.ceil(Math.min(longest + 18, Math.max(92, room * 0.3)));
      const cell = Math.max(26, Math.min(78, Math.floor((room - side - 8) / names.length) - 2));
      return [side, cell, widest(names.flatMap((label) => label.split(/\s+/)))];
    }

    lay(room) {
      const rows = this.rows;
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
      head.append(make('th', 'axis', AXIS.join('\n')));
      rows.forEach((j) => {
        const th = make('th');
        th.scope = 'col';
        th.append(make('span', '', labels[j]));
        head.append(th);
      });
      const body = make('tbody');
      rows.forEach((i) => {
        const row = make('tr');
        const th = make('th', '', labels[i]);
        th.scope = 'row';
        row.append(th);
        rows.forEach((j) => {
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
        table.tHead.rows[0].cells[this.rows.indexOf(c[1]) + 1].classList.toggle('on', on);
        table.tBodies[0].rows[this.rows.indexOf(c[0])].cells[0].classList.toggle('on', on);
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
        const [row, column] = cell.map((c, k) => this.rows.indexOf(c) + step[k]);
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
      if (this.large) return;
      all('td', this.host).forEach((td) => {
        const on = td.dataset.cell === this.chosen.join(',');
        td.setAttribute('aria-selected', String(on));
        td.tabIndex = on ? 0 : -1;
      });
      // Where the chosen cell is not among those shown, the first can be reached by keyboard.
      const first = this.host.querySelector('td');
      if (first && !this.host.querySelector('td[tabindex="0"]')) first.tabIndex = 0;
    }

    // Too many cells for a table: one pixel block a cell, read by pointing at it.
    paint() {
      const width = Math.min(760, this.host.parentElement.clientWidth);
      const block = Math.max(1, Math.floor(width / size));
      const canvas = make('canvas');
      canvas.width = canvas.height = size * block;
      canvas.style.maxWidth = '100%';
      // Where there are fewer dots than cells, they are blended: a cell left out would be a mistake unseen.
      if (size > width * devicePixelRatio) canvas.style.imageRendering = 'auto';
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

  // Beside a mistake: the clip of the class it was taken for that the model is surest of.
  const examples = {};
  Object.values(data.subsets).forEach(({clips}) => clips.forEach(([name, place, truth, called, , scores]) => {
    const best = examples[truth];
    if (place && truth === called && (!best || scores[1] > best[3])) examples[truth] = [name, place, truth, scores[1]];
  }));
  viewer.example = ([name, , truth, called]) => (
    truth !== called && examples[called] && examples[called][0] !== name ? examples[called] : null
  );

  const views = Object.keys(data.subsets).map((key) => new Matrix(key));
  redraw = () => views.forEach((view) => view.draw());
  // ---- lists of clips
  all('[data-clips]').forEach((host) => {
    const subset = data.subsets[host.dataset.clips];
    const pick = (places) => places.map((i) => subset.clips[i]);
    browse(host.closest('.subset'), host, {
      worst: ['the wrong answer with the most confidence over the true class first', pick(subset.worst)],
      unsure: ['the lowest best score first', pick(subset.unsure)],
      all: ['in order of their ids', subset.clips],
    }, card, ([, , truth, called]) => [truth, called]);
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
    redraw();
  });

  let width = innerWidth;
  addEventListener('resize', () => {
    if (innerWidth !== width) redraw();
    width = innerWidth;
  });
})();
