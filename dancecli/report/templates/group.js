'use strict';
(() => {
  const card = ([name, place, truth, calls, scores]) => {
    const right = calls.filter((call) => call === truth).length;
    const list = make('ul', 'calls');
    data.runs.forEach((run, i) => {
      const row = make('li', calls[i] === truth ? 'truth' : 'wrong');
      row.append(make('span', 'name', run), make('span', 'call', labels[calls[i]]));
      list.append(row);
    });
    return frameCard(
      name, place,
      make('p', 'whose', `${labels[truth]}: right in ${right} of ${calls.length} runs; mean scores`),
      scoreList(scores, truth, -1),
      list,
    );
  };
  all('[data-clips]').forEach((host) => {
    const subset = data.subsets[host.dataset.clips];
    browse(host.closest('.subset'), host, {
      flips: ['correct in some runs and wrong in others, the most disputed first', subset.flips],
      never: ['right in no run', subset.never],
    }, card, ([, , truth, calls]) => [truth, ...calls]);
  });
})();
