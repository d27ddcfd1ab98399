'use strict';
(() => {
  const card = ([name, place, truth, first, second, ours, theirs]) => frameCard(
    name, place,
    make('p', 'whose', data.names[0]), scoreList(ours, truth, first),
    make('p', 'whose', data.names[1]), scoreList(theirs, truth, second),
  );
  const host = document.querySelector('[data-clips]');
  const order = 'those that the scores differ most on first';
  browse(host.closest('.subset'), host, {
    second: [order, data.clips.second],
    first: [order, data.clips.first],
  }, card, ([, , truth, first, second]) => [truth, first, second]);
})();
