// One dashboard, from its JSON and a Prometheus, with Grafana's own components where they are published. The heat map and
// the grid are ours.
import React, { useEffect, useLayoutEffect, useState } from 'react';
import { createRoot } from 'react-dom/client';
import {
  createDataFrame, createTheme, dateTime, FieldType, getDisplayProcessor, getValueFormat, ThemeContext, LoadingState,
} from '@grafana/data';
import { BigValue, BigValueColorMode, BigValueGraphMode, BigValueTextMode, GlobalStyles, PanelChrome, Table, TimeSeries } from '@grafana/ui';
import 'uplot/dist/uPlot.min.css';
import { Heatmap } from './heatmap.jsx';
import { ask, fill } from './prometheus.js';

const GAP = 8;
const ROW = 30;
const HEAD = 100;

const parameters = new URLSearchParams(location.search);
const theme = createTheme({ colors: { mode: parameters.get('mode') } });
const [name, width] = [parameters.get('name'), Number(parameters.get('width'))];
const [from, to] = ['from', 'to'].map((edge) => Number(parameters.get(edge)));
const timeRange = { from: dateTime(from * 1000), to: dateTime(to * 1000), raw: { from: 'now-6h', to: 'now' } };

const place = ({ x, y, w, h }) => {
  const column = (width - GAP) / 24;
  return { left: GAP + x * column, top: HEAD + y * (ROW + GAP), width: w * column - GAP, height: h * (ROW + GAP) - GAP };
};

// The configuration of a field by its name: what holds for the panel, and the overrides by name.
function configure(panel, displayName) {
  const { defaults, overrides } = panel.fieldConfig;
  const config = structuredClone({ ...defaults, custom: { ...defaults.custom }, displayName });
  for (const { matcher, properties } of overrides) {
    if (matcher.options === displayName) for (const { id, value } of properties) {
      if (id.startsWith('custom.')) config.custom[id.slice('custom.'.length)] = value;
      else config[id] = value;
    }
  }
  return config;
}

// Moments that the dashboard marks, one for each time that an annotation's query begins to have a value.
async function marks({ annotations }) {
  const all = [];
  for (const { expr, name, iconColor, builtIn } of annotations.list) {
    if (builtIn) continue;
    const colour = theme.visualization.getColorByName(iconColor);
    const times = [];
    for (const { values } of await ask.range(fill(expr, 60), from, to, 60)) {
      values.forEach(([at], index) => { if (index === 0 || at - values[index - 1][0] > 90) times.push(at * 1000); });
    }
    all.push({ name, colour, times: [...new Set(times)] });
  }
  return all;
}

// Grafana's own plug-in for annotations is not published.
function Marks({ config, annotations }) {
  useLayoutEffect(() => {
    config.addHook('draw', (plot) => {
      const { ctx, bbox } = plot;
      ctx.save();
      ctx.lineWidth = devicePixelRatio;
      ctx.setLineDash([4, 3]);
      for (const { colour, times } of annotations) for (const at of times) {
        const x = plot.valToPos(at, 'x', true);
        ctx.strokeStyle = ctx.fillStyle = colour;
        ctx.beginPath();
        ctx.moveTo(x, bbox.top);
        ctx.lineTo(x, bbox.top + bbox.height);
        ctx.stroke();
        ctx.fillRect(x - 4, bbox.top + bbox.height, 8, 4);
      }
      ctx.restore();
    });
  }, [config, annotations]);
  return null;
}

// The value of a field as Grafana would print it.
function finish(field, index) {
  field.state = { seriesIndex: index, displayName: field.config.displayName };
  field.display = getDisplayProcessor({ field, theme, timeZone: 'utc' });
  return field;
}

const legend = (target, labels) =>
  target.legendFormat === '__auto' ? Object.values(labels).join(' ') || 'value'
    : target.legendFormat.replace(/{{(\w+)}}/g, (_, label) => labels[label] ?? '');

// Curves, each as a frame of its own on the same times.
async function curves(panel, step) {
  const frames = [];
  const times = [];
  for (let at = from; at <= to; at += step) times.push(at * 1000);
  for (const target of panel.targets) {
    for (const { metric, values } of await ask.range(fill(target.expr, step), from, to, step)) {
      const known = new Map(values.map(([at, value]) => [Math.round(at) * 1000, Number(value)]));
      const config = configure(panel, legend(target, metric));
      const field = { name: 'Value', type: FieldType.number, config, values: times.map((at) => known.get(at) ?? null) };
      const frame = createDataFrame({ fields: [{ name: 'Time', type: FieldType.time, config: {}, values: times }, field] });
      finish(frame.fields[0], 0);
      finish(frame.fields[1], frames.length);
      frames.push(frame);
    }
  }
  return frames;
}

async function load(panel) {
  const minutes = Number((panel.interval ?? '1m').replace('m', ''));
  const step = Math.max(60 * minutes, 60);
  const range = to - from;
  switch (panel.type) {
    case 'timeseries':
      return { frames: await curves(panel, step) };
    case 'alertlist': {
      const alerts = await ask.instant('ALERTS{alertstate="firing"}', to);
      return { frames: alerts.map(({ metric }) => metric) };
    }
    case 'heatmap':
      return { series: await ask.range(fill(panel.targets[0].expr, step), from, to, step), step };
    case 'stat': {
      if (!panel.targets[0].instant) return { frames: await curves(panel, step) };
      const [first] = await ask.instant(fill(panel.targets[0].expr, step, range), to);
      const config = configure(panel, 'value');
      const values = first ? [Number(first.value[1])] : [];
      const frame = createDataFrame({ fields: [{ name: 'Value', type: FieldType.number, config, values }] });
      return { frames: values.length ? [{ fields: [null, finish(frame.fields[0], 0)], length: 1 }] : [] };
    }
    case 'table': {
      const { renameByName, excludeByName } = panel.transformations.at(-1).options;
      const rows = new Map();
      const labels = [];
      for (const target of panel.targets) {
        const column = panel.targets.length > 1 ? `Value #${target.refId}` : 'Value';
        for (const { metric, value } of await ask.instant(fill(target.expr, step, range), to)) {
          for (const label of Object.keys(metric)) if (!labels.includes(label)) labels.push(label);
          const key = JSON.stringify(metric);
          rows.set(key, { ...(rows.get(key) ?? metric), [column]: Number(value[1]) });
        }
      }
      const sort = panel.options.sortBy?.[0]?.displayName;
      const sorter = Object.entries(renameByName).find(([, shown]) => shown === sort)?.[0];
      const sorted = [...rows.values()].sort((a, b) => (sorter ? (b[sorter] ?? 0) - (a[sorter] ?? 0) : 0));
      const { indexByName } = panel.transformations.at(-1).options;
      const rank = (column) => indexByName[column] ?? Infinity;
      const columns = [...new Set([...labels, ...Object.keys(renameByName)])].filter((column) => !excludeByName[column]);
      columns.sort((a, b) => (rank(a) === rank(b) ? 0 : rank(a) - rank(b)));
      const fields = columns.map((column) => ({
        name: renameByName[column] ?? column,
        type: labels.includes(column) ? FieldType.string : FieldType.number,
        config: configure(panel, renameByName[column] ?? column),
        values: sorted.map((row) => row[column] ?? null),
      }));
      for (const field of fields) if (field.config.thresholds && panel.fieldConfig.overrides.some(
        ({ matcher, properties }) => matcher.options === field.name && properties.some(({ id }) => id === 'thresholds'))) {
        field.config.custom.cellOptions = { type: 'color-text' };
      }
      const frame = createDataFrame({ fields });
      frame.fields.forEach(finish);
      return { frames: rows.size ? [frame] : [] };
    }
    default:
      throw new Error(`panels of type ${panel.type} are not drawn here`);
  }
}

function Stat({ panel, frames, width, height }) {
  const each = width / frames.length;
  return (
    <div style={{ display: 'flex' }}>
      {frames.map((frame, index) => {
        const field = frame.fields[1];
        const last = field.values.filter((value) => value !== null).at(-1);
        const shown = field.display(last);
        const sparkline = panel.options.graphMode === 'area' ? { x: frame.fields[0], y: field, timeRange } : undefined;
        return (
          <BigValue key={index} value={{ ...shown, title: frames.length > 1 ? field.config.displayName : undefined }} sparkline={sparkline}
            width={each} height={height} theme={theme} colorMode={BigValueColorMode.Value}
            graphMode={sparkline ? BigValueGraphMode.Area : BigValueGraphMode.None} textMode={BigValueTextMode.Auto} />
        );
      })}
    </div>
  );
}

function Alerts({ alerts }) {
  return alerts.map(({ alertname, realm, server }, index) => (
    <div key={index} style={{ padding: '6px 8px', borderBottom: `1px solid ${theme.colors.border.weak}` }}>
      <span style={{ color: theme.colors.error.text }}>firing</span> {alertname} {realm ?? server ?? ''}
    </div>
  ));
}

function Content({ panel, data, annotations, width, height }) {
  if ((data.frames ?? data.series).length === 0) {
    const text = panel.fieldConfig.defaults.noValue;
    return <div style={{ color: theme.colors.text.secondary, padding: height / 2 - 12, textAlign: 'center' }}>{text}</div>;
  }
  switch (panel.type) {
    case 'timeseries':
      return <TimeSeries frames={data.frames} structureRev={1} timeRange={timeRange} timeZone="utc" width={width} height={height}
        legend={panel.options.legend} options={panel.options}>
        {(config) => <Marks config={config} annotations={annotations} />}
      </TimeSeries>;
    case 'alertlist':
      return <Alerts alerts={data.frames} />;
    case 'stat':
      return <Stat panel={panel} frames={data.frames} width={width} height={height} />;
    case 'table':
      return <Table data={data.frames[0]} width={width} height={height} cellHeight="sm" />;
    case 'heatmap':
      return <Heatmap series={data.series} step={data.step} from={from} to={to} width={width} height={height} theme={theme}
        scheme={panel.options.color.scheme} format={getValueFormat(panel.options.yAxis.unit)} />;
  }
}

function Panel({ panel, annotations }) {
  const [data, setData] = useState(null);
  useEffect(() => {
    load(panel).then(setData, (error) => { console.error(panel.title, error); window.failed = true; }).finally(() => { window.pending -= 1; });
  }, [panel]);
  const { width, height, ...at } = place(panel.gridPos);
  return (
    <div className="cell" style={{ ...at, width, height }}>
      <PanelChrome title={panel.title} width={width} height={height} loadingState={LoadingState.Done}>
        {(innerWidth, innerHeight) => data && <Content panel={panel} data={data} annotations={annotations} width={innerWidth} height={innerHeight} />}
      </PanelChrome>
    </div>
  );
}

const DEFAULTS = { datasource: 'Prometheus', textbox: '#' };

function Dashboard({ dashboard, annotations }) {
  const bottom = Math.max(...dashboard.panels.map(({ gridPos }) => gridPos.y + gridPos.h));
  const chip = { background: theme.colors.background.primary, border: `1px solid ${theme.colors.border.medium}` };
  return (
    <div className="dashboard" style={{ position: 'relative', width, height: HEAD + bottom * (ROW + GAP) + GAP, background: theme.colors.background.canvas, color: theme.colors.text.primary }}>
      <div className="bar">
        <h1>{dashboard.title}</h1>
        {dashboard.templating.list.map(({ name, label, type }) => <span key={name} style={chip}>{label}: {DEFAULTS[type] ?? 'All'}</span>)}
        {dashboard.links.map(({ title }) => <span key={title} style={{ ...chip, color: theme.colors.text.link }}>{title}</span>)}
        {annotations.map(({ name, colour }) => <span key={name} style={{ ...chip, borderColor: colour }}>┆ {name}</span>)}
      </div>
      {dashboard.panels.map((panel) => panel.type === 'row'
        ? <div key={panel.id} className="cell heading" style={place(panel.gridPos)}>{panel.title}</div>
        : <Panel key={panel.id} panel={panel} annotations={annotations} />)}
    </div>
  );
}

const dashboard = await (await fetch(`/dashboards/${name}.json`)).json();
const annotations = await marks(dashboard);
window.pending = dashboard.panels.filter(({ type }) => type !== 'row').length;
createRoot(document.getElementById('root')).render(
  <ThemeContext.Provider value={theme}><GlobalStyles /><Dashboard dashboard={dashboard} annotations={annotations} /></ThemeContext.Provider>);
