/**
 * What the page of queues does: asks every two seconds while someone looks, and shows what it is told. What it is told is anyone's: it becomes text, never markup. The run that is looked into is in
 * the address, so that it can be sent to others.
 */
export const script = `'use strict';
const pause = 2000;
const at = (id) => document.getElementById(id);
const make = (tag, contents = [], properties = {}) => {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...[contents].flat());
  return element;
};
const percent = (share) => (100 * share).toFixed(share < 0.1 && share > 0 ? 2 : 1) + ' %';
const count = (n, word) => n + ' ' + word + (n === 1 ? '' : 's');
const pieceName = (piece) => (piece === 'finish' ? 'putting together' : 'part ' + (piece.index + 1) + ' of ' + piece.count);
const when = (text) => make('time', new Date(text).toLocaleString(), { dateTime: text });

function tile(number, words) {
  return make('div', [make('b', String(number)), make('span', words)], { className: 'tile' });
}

function table(titles, rows) {
  const head = make('tr', titles.map((title) => make('th', title, { scope: 'col' })));
  const body = rows.map((cells) => make('tr', cells.map((cell, i) => {
    const element = make(i === 0 ? 'th' : 'td', cell);
    if (i === 0) element.scope = 'row';
    return element;
  })));
  return make('div', make('table', [make('thead', head), make('tbody', body)]), { className: 'scroll', tabIndex: 0 });
}

function bar(share, what) {
  const element = make('progress', [], { max: 1, value: share });
  element.setAttribute('aria-label', what + ': ' + percent(share));
  return element;
}

const stateOf = ({ state }) => make('span', state, { className: 'state ' + state });
const linkOf = ({ queue, run }) => '#' + new URLSearchParams({ queue, run });

function queueOf({ queue, workers, jobs, runs }) {
  const tiles = make('div', [
    tile(workers, workers === 1 ? 'worker' : 'workers'),
    tile(jobs.active, 'pieces of work being done'),
    tile(jobs.waiting, 'waiting'),
    tile(jobs.delayed, 'put off'),
    tile(jobs.failed, 'failed'),
  ], { className: 'tiles' });
  const rows = runs.map((run) => [
    make('a', run.output, { href: linkOf(run) }),
    stateOf(run),
    [bar(run.progress, run.output), ' ' + percent(run.progress)],
    run.parts.done + ' of ' + run.parts.count,
    String(run.active.length),
    when(run.submitted),
  ]);
  const list = runs.length > 0 ? table(['Output', 'State', 'Done', 'Parts', 'At work', 'Submitted'], rows) : make('p', 'No runs.');
  return [make('h2', queue), tiles, list];
}

function runOf(run) {
  const { output, plan, state, active, error, refused, layers = [] } = run;
  const parts = [make('h2', output, { id: 'chosen' }), make('p', [stateOf(run), ', ' + percent(run.progress) + '; plan: ', make('code', plan), '; run ', make('code', run.run), '. ', make('a', 'Close', { href: '#' })])];
  if (error !== null) parts.push(make('p', 'Failed: ' + error, { className: 'alarm' }));
  if (refused !== null) parts.push(make('p', 'Left to others: ' + refused, { className: 'alarm' }));
  if (active.length > 0)
    parts.push(table(['At work', 'Worker', 'Done', 'Layer'], active.map(({ piece, worker, progress, layer }) => [pieceName(piece), worker ?? '', bar(progress, pieceName(piece)), layer ?? ''])));
  if (layers.length === 0) {
    if (state !== 'done') parts.push(make('p', 'No layer is done yet.', { className: 'muted' }));
    return parts;
  }
  const shown = layers.slice(0, 200);
  const most = Math.max(...shown.map((layer) => layer.error)) || 1;
  const more = layers.length > shown.length ? ' The 200 with the largest errors:' : '';
  parts.push(make('p', count(layers.length, 'layer') + ' done.' + more));
  parts.push(table(['Layer', 'Error', 'Of its', ''], shown.map(({ name, error: own, isFitted }) => [
    name,
    percent(own),
    isFitted ? 'outputs' : 'weights',
    make('progress', [], { max: most, value: own, ariaHidden: 'true' }),
  ])));
  return parts;
}

/** Keeps where the keyboard is: what is shown is made anew. */
function show(place, parts) {
  const { activeElement } = document;
  const href = place.contains(activeElement) ? activeElement.getAttribute('href') : null;
  place.replaceChildren(...parts);
  if (href !== null) place.querySelector('a[href="' + CSS.escape(href) + '"]')?.focus();
}

const chosen = () => new URLSearchParams(location.hash.slice(1));

async function ask(path) {
  const answer = await fetch(path, { cache: 'no-store' });
  const told = await answer.json();
  if (!answer.ok) throw new Error(told.error.message);
  return told;
}

let asked = 0;
async function look() {
  const own = ++asked;
  const { run, queue } = Object.fromEntries(chosen());
  try {
    const all = await ask('status.json');
    const one = run ? (await ask('status.json?' + new URLSearchParams({ queue, run }))).queues.flatMap(({ runs }) => runs)[0] : undefined;
    if (own !== asked) return;
    at('about').textContent = 'Redis at ' + all.redis + '; as of ' + new Date().toLocaleTimeString() + '.';
    at('trouble').textContent = '';
    show(at('queues'), all.queues.flatMap(queueOf));
    show(at('run'), one ? runOf(one) : []);
  } catch (error) {
    if (own === asked) at('trouble').textContent = error.message;
  }
}

let timer;
async function goOn() {
  clearTimeout(timer);
  if (!document.hidden) await look();
  timer = setTimeout(goOn, pause);
}
addEventListener('hashchange', goOn);
document.addEventListener('visibilitychange', goOn);
goOn();
`;
