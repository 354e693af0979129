// What stands on the page, panel by panel, for tests/grafana/test_drawn.py.

/**
 * One object for each panel: title, kind, number, text, error, empty, lines, states, legend, cells, figures, overflow.
 *
 * `legend`: the shares of the panel's area inside its frame that its legend takes: {height, width}.
 * `overflow`: by how many pixels its widest table is wider than what is seen of it.
 * `cells`: {column, text, link, colour, background}. `figures`: the same without column, of a panel "Stat".
 */
export function look() {
  return [...document.querySelectorAll('[data-panel]')].map((panel) => ({
    number: Number(panel.dataset.number),
    title: panel.dataset.panel,
    kind: panel.dataset.kind,
    text: panel.innerText,
    error: panel.dataset.error ?? panel.querySelector('[data-error]')?.dataset.error ?? null,
    empty: panel.querySelector('[data-empty]') !== null,
    lines: published(panel, 'lines'),
    states: published(panel, 'states'),
    legend: legend(panel),
    cells: cells(panel),
    figures: panel.dataset.kind === 'stat' ? figures(panel) : [],
    overflow: overflow(panel),
  }));
}

function published(panel, name) {
  return JSON.parse(panel.querySelector(`[data-${name}]`)?.dataset[name] ?? '[]');
}

function legend(panel) {
  const layout = panel.querySelector('.uplot')?.closest('[style*="display: flex"]');
  const found = layout?.children[1];
  if (!found) {
    return null;
  }
  const [whole, part] = [layout.getBoundingClientRect(), found.getBoundingClientRect()];
  return { height: part.height / whole.height, width: part.width / whole.width };
}

function cells(panel) {
  return [...panel.querySelectorAll('[role=row]')].flatMap((row) => {
    const headers = [...row.closest('[role=grid], [role=table]').querySelectorAll('[role=columnheader]')];
    return [...row.querySelectorAll('[role=gridcell], [role=cell]')].map((cell, index) => ({
      column: headers[index]?.innerText.trim() ?? '',
      ...shown(cell, cell),
    }));
  });
}

function figures(panel) {
  return texts(panel.querySelector('[data-testid="data-testid panel content"]') ?? panel).map((element) =>
    shown(element, panel),
  );
}

/** The elements that hold text themselves. */
function texts(element) {
  return [element, ...element.querySelectorAll('*')].filter((each) =>
    [...each.childNodes].some((node) => node.nodeType === Node.TEXT_NODE && node.textContent.trim() !== ''),
  );
}

/** An element's text, and the colours that it has, its own or from around it, no further than `border`. */
function shown(element, border) {
  const inner = texts(element)[0] ?? element;
  let background = null;
  for (let each = inner; each !== border.parentElement && background === null; each = each.parentElement) {
    const style = getComputedStyle(each);
    background = (style.backgroundImage + style.backgroundColor).match(/rgba?\((?!0, 0, 0, 0\))[^)]*\)/)?.[0] ?? null;
  }
  return {
    text: element.innerText.trim(),
    link: element.querySelector('a') !== null,
    colour: getComputedStyle(inner).color,
    background,
  };
}

function overflow(panel) {
  const scrolling = [...panel.querySelectorAll('[role=grid], [role=table], [role=table] *')].filter((element) =>
    ['auto', 'scroll', 'hidden'].includes(getComputedStyle(element).overflowX),
  );
  const grids = scrolling.filter((element) => element.matches('[role=grid]') || element.querySelector('[role=row]'));
  return Math.max(0, ...grids.map((element) => element.scrollWidth - element.clientWidth));
}
