/**
 * What a page does by itself, where scripts may run; without, all is there but sorting, searching and the line under a chart. It makes no markup of
 * text: names stay text.
 */
export const script = `'use strict';
const make = (tag, text) => Object.assign(document.createElement(tag), { textContent: text });

for (const table of document.querySelectorAll('table[data-sortable]')) {
  const heads = [...table.tHead.rows[0].cells];
  const body = table.tBodies[0];
  const valueOf = (row, column) => {
    const { dataset, textContent } = row.cells[column];
    if (dataset.value === undefined) return textContent;
    return dataset.value === '' ? null : Number(dataset.value);
  };
  const compare = (a, b) => typeof a === 'number' ? a - b : a.localeCompare(b, undefined, { numeric: true });
  heads.forEach((head, column) => {
    const button = make('button', head.textContent);
    button.type = 'button';
    head.replaceChildren(button);
    button.addEventListener('click', () => {
      const isNumber = head.classList.contains('number');
      const up = head.ariaSort === null || head.ariaSort === 'none' ? !isNumber : head.ariaSort === 'descending';
      for (const other of heads) other.removeAttribute('aria-sort');
      head.setAttribute('aria-sort', up ? 'ascending' : 'descending');
      const rows = [...body.rows].map((row) => ({ row, value: valueOf(row, column) }));
      rows.sort((a, b) => {
        if (a.value === null || b.value === null) return (a.value === null) - (b.value === null);
        return up ? compare(a.value, b.value) : compare(b.value, a.value);
      });
      body.append(...rows.map(({ row }) => row));
    });
  });
  if (table.dataset.searchable === undefined) continue;
  const label = make('label', 'Show layers whose name has ');
  const input = document.createElement('input');
  input.type = 'search';
  const count = make('span', '');
  count.setAttribute('role', 'status');
  label.append(input);
  table.parentElement.before(label, count);
  input.addEventListener('input', () => {
    const wanted = input.value.toLowerCase();
    let shown = 0;
    for (const row of body.rows) {
      row.hidden = !row.cells[0].textContent.toLowerCase().includes(wanted);
      if (!row.hidden) shown++;
    }
    count.textContent = wanted === '' ? '' : shown + ' of ' + body.rows.length + ' layers';
  });
}

for (const plot of document.querySelectorAll('[data-readout]')) {
  const marks = [...plot.querySelectorAll('[data-told]')];
  if (marks.length === 0) continue;
  const chart = plot.querySelector('.marks');
  const readout = make('p', 'Point at a mark, or press the arrow keys in the chart.');
  readout.className = 'readout';
  readout.setAttribute('role', 'status');
  plot.after(readout);
  let at = -1;
  const show = (index) => {
    if (at >= 0) marks[at].classList.remove('here');
    at = (index + marks.length) % marks.length;
    marks[at].classList.add('here');
    readout.textContent = marks[at].dataset.told;
  };
  const nearest = ({ clientX, clientY }) => {
    let best = 0, least = Infinity;
    marks.forEach((mark, i) => {
      const box = mark.getBoundingClientRect();
      const across = clientX - box.x - box.width / 2;
      const upwards = mark.localName === 'rect' ? 0 : clientY - box.y - box.height / 2;
      const distance = across * across + upwards * upwards;
      if (distance < least) [best, least] = [i, distance];
    });
    return best;
  };
  chart.tabIndex = 0;
  chart.addEventListener('pointermove', (event) => show(nearest(event)));
  chart.addEventListener('pointerdown', (event) => show(nearest(event)));
  chart.addEventListener('keydown', (event) => {
    const step = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1 }[event.key];
    const index = event.key === 'Home' ? 0 : event.key === 'End' ? marks.length - 1 : step && (at < 0 && step < 0 ? -1 : at + step);
    if (index === undefined) return;
    event.preventDefault();
    show(index);
  });
}
`;
