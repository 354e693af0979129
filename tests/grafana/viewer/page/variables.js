// Variables and annotations of a dashboard.

const LASTING = /^query_result\(count by \((\w+)\) \(last_over_time\((.*)\[1d\]\)\)\)$/s;
// Of a hidden variable: its value is the only label of the result.
const RESULT = /^query_result\((.*)\)$/s;
const LABEL_VALUES = /^label_values\((?:(.*),)?\s*(\w+)\s*\)$/s;
const VARIABLE = /\$(?:\{(\w+)(?::\w+)?\}|(\w+))/g;

/** Replace every variable that has a value: `$name`, `${name}`, `${name:format}`. */
export function fill(text, values) {
  return text.replace(VARIABLE, (whole, braced, bare) => values[braced ?? bare] ?? whole);
}

/**
 * Choose the values of all variables, each under those before it.
 *
 * Returns a list of {name, label, shown, value, hidden}: `value` stands in queries.
 */
export async function chooseVariables(dashboard, server, values) {
  const chosen = [];
  for (const variable of dashboard.templating.list) {
    const { name, label = name, type } = variable;
    if (type === 'datasource') {
      chosen.push({ name, label, shown: 'Prometheus', value: 'prometheus' });
    } else if (type === 'query' && RESULT.test(variable.query.query) && !LASTING.test(variable.query.query)) {
      const [, query] = RESULT.exec(variable.query.query);
      const [{ metric }] = await server.moment(fill(query, asValues(chosen)));
      chosen.push({ name, label, hidden: true, value: Object.values(metric)[0] });
    } else if (type === 'query') {
      chosen.push({ name, label, ...(await chooseValue(variable, server, asValues(chosen), values[name])) });
    }
  }
  return chosen;
}

/** Name -> value. */
export function asValues(chosen) {
  return Object.fromEntries(chosen.map(({ name, value }) => [name, value]));
}

async function chooseValue(variable, server, before, given) {
  const { selector, label } = asked(variable.query.query);
  const options = await server.labelValues(selector && fill(selector, before), label);
  if (given !== undefined || !variable.includeAll) {
    const value = given ?? options[0] ?? '';
    return { shown: value, value: escaped(value) };
  }
  const all = options.length === 1 ? escaped(options[0]) : `(${options.map(escaped).join('|')})`;
  return { shown: 'All', value: variable.allValue ?? all };
}

/** The series and the label whose values a variable offers. */
function asked(query) {
  const lasting = LASTING.exec(query);
  if (lasting) return { label: lasting[1], selector: lasting[2] };
  const [, selector, label] = LABEL_VALUES.exec(query);
  return { selector, label };
}

/** For a regular expression within a PromQL string. */
function escaped(value) {
  return value.replace(/[\\^$*+?.()|[\]{}]/g, '\\\\$&');
}

/** What is marked in every graph: {from, to, color} in seconds, one region as long as the query has a value. */
export async function annotations(dashboard, server, variables) {
  const marks = [];
  for (const annotation of dashboard.annotations.list.filter(({ enable, expr }) => enable && expr)) {
    for (const [, times, step] of await server.moments(annotation.expr, asValues(variables))) {
      let region;
      for (const time of times) {
        if (region === undefined || time > region.to + step) {
          region = { from: time, to: time, color: annotation.iconColor };
          marks.push(region);
        }
        region.to = time;
      }
    }
  }
  return marks;
}
