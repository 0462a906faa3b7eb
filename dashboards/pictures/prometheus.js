// Questions to the Prometheus that holds the history, through the server of draw.mjs.

// Every choice of the variables is "All". The history has a page a minute.
const SCRAPE = 60;

export function fill(expression, step, range = 0) {
  const values = {
    $cluster: '.*', $namespace: '.*', $source: '.*', $server: '.*', $transport: '.*', $job: '.+', $instance: '.+', $realm: '.*', $__rate_interval: `${Math.max(step + SCRAPE, 4 * SCRAPE)}s`, $__range: `${range}s`,
  };
  return Object.entries(values).reduce((text, [name, value]) => text.replaceAll(name, value), expression);
}

async function get(path, parameters) {
  const answer = await (await fetch(`/api/v1/${path}?${new URLSearchParams(parameters)}`)).json();
  if (answer.status !== 'success') throw new Error(`${parameters.query}: ${answer.error}`);
  return answer.data.result;
}

export const ask = {
  instant: (query, time) => get('query', { query, time }),
  range: (query, start, end, step) => get('query_range', { query, start, end, step }),
};
