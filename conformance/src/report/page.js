'use strict';
const all = (what) => Array.from(document.querySelectorAll(what));
const field = (id) => document.getElementById(id);
function filter() {
  const agent = field('agent').value.trim().toLowerCase(), word = field('case').value.trim().toLowerCase();
  const tag = field('tag').value, only = field('only').checked;
  const takes = (part) => part.dataset.case.toLowerCase().includes(word) && (!tag || part.dataset.tags.split(' ').includes(tag));
  const shown = new Set();
  all('thead th[data-case]').forEach((head, at) => { head.hidden = !takes(head); if (!head.hidden) shown.add(at); });
  all('tbody tr').forEach((row) => {
    let bad = false;
    Array.from(row.cells).slice(1).forEach((cell, at) => { cell.hidden = !shown.has(at); bad = bad || (shown.has(at) && cell.dataset.bad === '1'); });
    row.hidden = !row.dataset.agent.toLowerCase().includes(agent) || (only && !bad);
  });
  all('details').forEach((part) => { part.hidden = !takes(part) || !part.dataset.agent.toLowerCase().includes(agent); });
}
function open() {
  const part = location.hash && document.getElementById(location.hash.slice(1));
  if (part && part.tagName === 'DETAILS') { part.hidden = false; part.open = true; part.scrollIntoView(); }
}
for (const id of ['agent', 'case', 'tag', 'only']) field(id).addEventListener('input', filter);
field('filters').addEventListener('submit', (event) => event.preventDefault());
field('filters').hidden = false;
addEventListener('hashchange', open);
addEventListener('beforeprint', () => all('details').forEach((part) => { part.open = true; }));
filter();
open();
