"""The look of a model card: one style sheet, light and dark, wide and narrow, without fonts or files from elsewhere."""

CSS = """
:root {
  --ground: #f6f7f9; --paper: #ffffff; --ink: #1c2127; --soft: #5b636d; --line: #e3e6ea; --fill: #eef1f5;
  --accent: #0072b2; --good: #00734f; --good-fill: #e3f4ee; --bad: #b3400a; --bad-fill: #fdece3; --stripe: #c6ccd5;
  --training: #0072b2; --calibration: #a8568a; --test: #d55e00;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ground: #14171b; --paper: #1c2025; --ink: #e8eaed; --soft: #a0a8b2; --line: #313740; --fill: #272c33;
    --accent: #56b4e9; --good: #5fd0a5; --good-fill: #15352b; --bad: #f3a071; --bad-fill: #41251a; --stripe: #5a646f;
    --training: #56b4e9; --calibration: #cc79a7; --test: #e69f00;
  }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body {
  margin: 0; background: var(--ground); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
}
main { max-width: 1080px; margin: 0 auto; padding: 40px 24px 64px; }
h1 { font-size: clamp(1.3rem, 4.6vw, 2.1rem); line-height: 1.2; margin: 4px 0 12px; overflow-wrap: anywhere; }
h2 { font-size: 1.15rem; margin: 0 0 14px; }
p { margin: 0 0 12px; max-width: 72ch; }
code, .mono { font-family: ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace; }
code { font-size: 0.9em; }
.eyebrow { color: var(--soft); font-size: 0.85rem; margin: 0; }
.lede { font-size: 1.1rem; }
.soft { color: var(--soft); }
.chips { display: flex; flex-wrap: wrap; gap: 8px; margin: 0 0 18px; padding: 0; list-style: none; }
.chip { background: var(--fill); border-radius: 999px; padding: 3px 12px; font-size: 0.88rem; }
.yes { color: var(--good); background: var(--good-fill); }
.no { color: var(--bad); background: var(--bad-fill); }
.tiles { display: grid; grid-template-columns: repeat(4, 1fr); gap: 14px; margin: 24px 0; }
.tile, section { background: var(--paper); border: 1px solid var(--line); border-radius: 12px; }
.tile { padding: 16px 18px; }
.tile b { display: block; font-size: 1.75rem; line-height: 1.2; font-variant-numeric: tabular-nums; }
.tile span { color: var(--soft); font-size: 0.86rem; display: block; }
section { padding: 22px 24px; margin: 0 0 18px; }
.wide { overflow-x: auto; }
.wide + p { margin-top: 14px; }
section > :last-child { margin-bottom: 0; }
table { border-collapse: collapse; width: 100%; font-size: 0.94rem; }
th { text-align: left; color: var(--soft); font-weight: 600; font-size: 0.82rem; }
th, td { padding: 7px 14px 7px 0; border-bottom: 1px solid var(--line); vertical-align: top; }
tr:last-child td { border-bottom: 0; }
tr.group td { border-bottom: 1px solid var(--line); font-weight: 600; padding-top: 16px; }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.name { white-space: nowrap; }
.mark { display: inline-block; min-width: 4.2em; text-align: center; border-radius: 6px; font-size: 0.84rem;
  font-weight: 600; padding: 1px 8px; white-space: nowrap; }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 400px), 1fr)); gap: 18px; }
.plots img { width: 100%; height: auto; display: block; background: #fff; border-radius: 8px;
  border: 1px solid var(--line); }
.bars { display: grid; grid-template-columns: minmax(120px, 36%) 1fr auto; gap: 7px 14px; align-items: center;
  font-size: 0.94rem; }
.bars div { overflow-wrap: anywhere; }
.bar { background: var(--accent); height: 12px; border-radius: 3px; min-width: 2px; }
.time { display: flex; height: 26px; border-radius: 6px; overflow: hidden; margin: 6px 0 4px; }
.time span { min-width: 3px; }
.training { background: var(--training); } .calibration { background: var(--calibration); }
.test { background: var(--test); }
.embargo { background: repeating-linear-gradient(135deg, var(--stripe) 0 3px, var(--fill) 3px 9px); }
.ends { display: flex; justify-content: space-between; color: var(--soft); font-size: 0.82rem; margin-bottom: 14px; }
.key { display: inline-block; width: 0.8em; height: 0.8em; border-radius: 3px; margin-right: 8px; }
dl { display: grid; grid-template-columns: minmax(110px, 22%) 1fr; gap: 6px 16px; margin: 0; font-size: 0.94rem; }
dt { color: var(--soft); } dd { margin: 0; overflow-wrap: anywhere; }
pre { background: var(--fill); border-radius: 8px; padding: 12px 14px; margin: 0 0 12px; white-space: pre-wrap;
  overflow-wrap: anywhere; }
@media (max-width: 720px) {
  main { padding: 22px 14px 40px; }
  section { padding: 18px 16px; }
  .tiles { grid-template-columns: repeat(2, 1fr); gap: 10px; }
  .tile b { font-size: 1.4rem; }
  .meaning { display: none; }
  th, td { padding-right: 10px; }
}
@media print { body { background: #fff; } section, .tile { break-inside: avoid; } }
"""
"""Colours follow Okabe and Ito (2008); text and ground keep a contrast of 4.5 to 1 in both schemes."""
