import { dark, light, type Theme } from './palette';

const variables = (theme: Theme) =>
  Object.entries(theme)
    .map(([name, color]) => `--${name}:${color}`)
    .join(';');

/** The style of a page. No fonts or pictures from elsewhere; what moves, moves at once. */
export const style = `
:root{color-scheme:light dark;${variables(light)}}
@media (prefers-color-scheme:dark){:root{${variables(dark)}}}
*{box-sizing:border-box}
body{margin:0;background:var(--ground);color:var(--text);font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans","DejaVu Sans",sans-serif;overflow-wrap:anywhere}
main{max-width:60rem;margin:0 auto;padding:1rem 1rem 4rem}
h1{font-size:1.6rem;line-height:1.25;margin:1rem 0 .5rem}
h2{font-size:1.25rem;margin:2.5rem 0 .75rem;scroll-margin-top:1rem}
.lead{font-size:1.1rem;margin:.25rem 0}
.muted,.note,.edge,.axis text{color:var(--muted);fill:var(--muted)}
.muted{font-size:.9rem}
a{color:var(--link)}
nav{font-size:.95rem}
nav ul{list-style:none;display:flex;flex-wrap:wrap;gap:.25rem 1rem;padding:0;margin:1rem 0}
nav a{display:inline-block;padding:.15rem 0}
:focus-visible{outline:3px solid var(--link);outline-offset:2px}
.tiles{display:grid;grid-template-columns:repeat(auto-fill,minmax(10.5rem,1fr));gap:.75rem}
.tile{background:var(--surface);border:1px solid var(--line);border-radius:8px;padding:.6rem .8rem;display:flex;flex-direction:column}
.tile b{font-size:1.4rem;font-variant-numeric:tabular-nums}
.tile span{font-size:.85rem;color:var(--muted)}
code,pre{font:.9em/1.45 ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace;background:var(--surface)}
code{padding:.1em .25em;border-radius:4px}
pre{padding:.75rem;border:1px solid var(--line);border-radius:8px;white-space:pre-wrap;max-height:22rem;overflow:auto}
pre code{padding:0;user-select:all}
.plot{display:flex;position:relative}
.plot .axis{flex:none}
.plot .marks{flex:1;min-width:0;overflow:visible}
svg text{font-size:12px;font-variant-numeric:tabular-nums}
.rule{stroke:var(--line)}
.equal{stroke:var(--control);stroke-dasharray:4 4}
.bar{fill:var(--mark)}
.dot{fill:var(--mark);stroke:var(--ground)}
.hot{fill:var(--hot)}
.here{stroke:var(--dot);stroke-width:2}
.quantized{fill:var(--mark)}.chosen{fill:var(--chosen)}.stuck{fill:var(--stuck)}.other{fill:var(--other)}.whole{fill:none}
.bytes .name{overflow-wrap:normal}
.bytes rect{stroke:var(--ground);stroke-width:1}
.readout{min-height:1.5em;margin:.25rem 0 0;font-size:.9rem}
.bars{list-style:none;padding:0;margin:.5rem 0}
.bars li{display:grid;grid-template-columns:minmax(0,2fr) minmax(0,2fr) 5rem;gap:0 .75rem;align-items:center;padding:.35rem 0;border-top:1px solid var(--line)}
.bars .note{grid-column:1/-1;font-size:.85rem}
.bytes{display:grid;grid-template-columns:3.5rem minmax(0,1fr) 5.5rem;gap:.75rem;align-items:center;margin:.35rem 0}
.number{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
.scroll{overflow-x:auto;margin:.75rem 0}
table{border-collapse:collapse;font-size:.9rem;width:100%}
th,td{text-align:left;padding:.3rem .6rem;border-bottom:1px solid var(--line);vertical-align:top}
th.number,td.number{text-align:right}
tbody th{font-weight:400;min-width:9rem}
thead th{white-space:nowrap;position:sticky;top:0;background:var(--ground)}
thead button{font:inherit;font-weight:600;color:inherit;background:none;border:0;padding:.2rem 0;cursor:pointer;text-decoration:underline dotted}
th[aria-sort=ascending] button::after{content:" ▲"}
th[aria-sort=descending] button::after{content:" ▼"}
.key{margin-right:.5rem}
label{display:block;margin:.5rem 0;font-size:.9rem}
input{font:inherit;color:inherit;background:var(--ground);border:1px solid var(--control);border-radius:6px;padding:.35rem .6rem;width:100%;max-width:24rem;display:block}
.warnings li{margin:.35rem 0;border-left:4px solid var(--warning);padding-left:.6rem;list-style:none}
ul.warnings{padding:0}
.warnings small{display:block;color:var(--muted)}
dl{display:grid;grid-template-columns:max-content minmax(0,1fr);gap:.15rem 1rem;font-size:.9rem}
dt{color:var(--muted)}dd{margin:0}
@media (min-width:75rem){.wide{width:min(90vw,80rem);margin-left:calc(50% - min(45vw,40rem))}}
@media (max-width:34rem){body{font-size:15px}.bars li{grid-template-columns:minmax(0,1fr) 5rem}.bars .name{grid-column:1/-1}h1{font-size:1.35rem}.bytes{grid-template-columns:3.25rem minmax(0,1fr) 4.5rem;gap:.4rem}.axis{width:50px}}
@media print{nav,.readout,label{display:none}.scroll{overflow:visible}}
`;
