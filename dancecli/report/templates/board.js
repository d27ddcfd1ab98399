'use strict';
(() => {
  const filter = document.querySelector('.filter');
  filter.addEventListener('input', () => {
    const text = filter.value.trim().toLowerCase();
    all('tr[data-text]').forEach((row) => { row.hidden = !row.dataset.text.toLowerCase().includes(text); });
  });
})();
