"""The look of the drift page: one style sheet, light and dark, wide and narrow, nothing from elsewhere."""

CSS = """
:root {
  --ground: #f6f7f9; --paper: #ffffff; --ink: #1c2127; --soft: #5b636d; --line: #e3e6ea; --fill: #eef1f5;
  --now: #0072b2; --then: #b3bac4; --limit: #b3400a;
  --ok: #00734f; --ok-fill: #e3f4ee; --warn: #7a5200; --warn-fill: #fdf1d6; --fail: #b3400a; --fail-fill: #fdece3;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ground: #14171b; --paper: #1c2025; --ink: #e8eaed; --soft: #a0a8b2; --line: #313740; --fill: #272c33;
    --now: #56b4e9; --then: #59626d; --limit: #f3a071;
    --ok: #5fd0a5; --ok-fill: #15352b; --warn: #f0c05a; --warn-fill: #3a2f12; --fail: #f3a071; --fail-fill: #41251a;
  }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body {
  margin: 0; background: var(--ground); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
}
main { max-width: 1080px; margin: 0 auto; padding: 40px 24px 64px; }
h1 { font-size: clamp(1.3rem, 4.2vw, 1.9rem); line-height: 1.25; margin: 12px 0; max-width: 38ch; }
h2 { font-size: 1.15rem; margin: 0 0 6px; }
p { margin: 0 0 12px; max-width: 72ch; }
a { color: var(--now); }
.eyebrow { color: var(--soft); font-size: 0.88rem; margin: 0 0 14px; overflow-wrap: anywhere; }
.lede { font-size: 1.06rem; margin-bottom: 22px; }
.soft { color: var(--soft); font-size: 0.92rem; }
.status { display: inline-block; border-radius: 999px; padding: 3px 14px; font-weight: 700; letter-spacing: 0.02em; }
.OK { color: var(--ok); background: var(--ok-fill); }
.WARN { color: var(--warn); background: var(--warn-fill); }
.FAIL { color: var(--fail); background: var(--fail-fill); }
.tiles { display: grid; grid-template-columns: repeat(4, 1fr); gap: 14px; margin: 0 0 18px; }
.tile, section { background: var(--paper); border: 1px solid var(--line); border-radius: 12px; }
.tile { padding: 14px 18px; }
.tile b { display: block; font-size: 1.7rem; line-height: 1.25; font-variant-numeric: tabular-nums; }
.tile span { color: var(--soft); font-size: 0.86rem; display: block; line-height: 1.4; }
section { padding: 22px 24px; margin: 0 0 18px; }
section > :last-child { margin-bottom: 0; }
ul { margin: 0; padding-left: 1.2em; max-width: 80ch; }
li { margin: 0 0 4px; overflow-wrap: anywhere; }
.keys { display: flex; flex-wrap: wrap; gap: 4px 18px; font-size: 0.88rem; color: var(--soft); margin: 0 0 12px; }
.key { display: inline-block; width: 0.85em; height: 0.85em; border-radius: 3px; margin-right: 7px;
  vertical-align: -0.08em; }
.key.then, .bar.then { background: var(--then); } .key.now { background: var(--now); }
.key.limit { width: 2px; border-radius: 0; background: var(--ink); }
.key.chance { width: 2px; border-radius: 0; background: var(--soft); }
svg { display: block; }
.histogram { width: 100%; height: 200px; border-bottom: 1px solid var(--line); }
.axis { position: relative; height: 1.5em; color: var(--soft); font-size: 0.82rem; margin-top: 4px; }
.axis span { position: absolute; transform: translateX(-50%); }
.fill-then { fill: var(--then); } .fill-now { fill: var(--now); }
.line-now { fill: none; stroke: var(--now); stroke-width: 2.5; vector-effect: non-scaling-stroke;
  stroke-linejoin: round; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: 0.92rem; }
th { text-align: left; color: var(--soft); font-weight: 600; font-size: 0.82rem; vertical-align: bottom; }
th, td { padding: 6px 16px 6px 0; border-bottom: 1px solid var(--line); }
th:last-child, td:last-child { padding-right: 0; }
tr:last-child td { border-bottom: 0; }
.name { font-family: ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace; font-size: 0.86rem;
  overflow-wrap: anywhere; min-width: 12ch; }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.calm { color: var(--soft); }
.meter { position: relative; width: 110px; height: 10px; background: var(--fill); border-radius: 3px;
  overflow: hidden; }
.meter i { position: absolute; inset: 0 auto 0 0; background: var(--now); border-radius: 3px; }
.meter i.moved { background: var(--limit); }
.meter u { position: absolute; top: 0; bottom: 0; width: 2px; margin-left: -1px; background: var(--ink); }
.meter u.chance { background: var(--soft); }
dl { display: grid; grid-template-columns: minmax(110px, 22%) 1fr; gap: 6px 16px; margin: 0; font-size: 0.94rem; }
dt { color: var(--soft); } dd { margin: 0; overflow-wrap: anywhere; }
@media (max-width: 720px) {
  main { padding: 22px 14px 40px; }
  section { padding: 18px 16px; }
  .tiles { grid-template-columns: repeat(2, 1fr); gap: 10px; }
  .tile { padding: 12px 14px; } .tile b { font-size: 1.35rem; }
  .histogram { height: 150px; }
  .extra { display: none; }
  .meter { width: 64px; }
  th, td { padding-right: 10px; }
  .name { min-width: 9ch; }
}
@media print { body { background: #fff; } section, .tile { break-inside: avoid; } }
"""
"""Colours follow Okabe and Ito (2008); text and ground keep a contrast of 4.5 to 1 in both schemes."""
