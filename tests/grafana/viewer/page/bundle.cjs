// Bundles the page with its libraries: `node bundle.cjs FOLDER` writes FOLDER/page.

const { cpSync, rmSync } = require('node:fs');
const { join, resolve } = require('node:path');

const folder = resolve(process.argv[2]);
const page = join(folder, 'page');
const modules = join(folder, 'node_modules');
const ui = join(modules, '@grafana', 'ui');
const esbuild = require(join(modules, 'esbuild'));
const { version } = require(join(ui, 'package.json'));

// A CommonJS package whose `default` Grafana 11 imports in files named .mjs, where esbuild, like Node, would give it the
// whole package.
const scrollbars = {
  name: 'scrollbars',
  setup(build) {
    build.onResolve({ filter: /^react-custom-scrollbars-2$/ }, ({ path, namespace }) =>
      namespace === 'scrollbars' ? undefined : { path, namespace: 'scrollbars' },
    );
    build.onLoad({ filter: /.*/, namespace: 'scrollbars' }, ({ path }) => ({
      contents: `module.exports = require('${path}').default;`,
      resolveDir: folder,
    }));
  },
};

// Where Grafana's styles look for fonts: family and weight.
const FONTS = {
  'inter/Inter-Medium.woff2': ['inter', 500],
  'inter/Inter-Regular.woff2': ['inter', 400],
  'roboto/L0xTDF4xlVMF-BfR8bXMIhJHg45mwgGEFl0_3vrtSM1J-gEPT5Ese6hmHSh0mQ.woff2': ['roboto-mono', 400],
};

async function main() {
  rmSync(page, { force: true, recursive: true });
  await esbuild.build({
    bundle: true,
    define: {
      global: 'globalThis',
      'process.env': '{}',
      'process.env.NODE_ENV': '"production"',
      VERSION: JSON.stringify(version),
    },
    entryPoints: [join(__dirname, 'main.jsx')],
    jsx: 'automatic',
    // The editor of queries would need fonts.
    loader: { '.svg': 'dataurl', '.ttf': 'empty' },
    logLevel: 'error',
    nodePaths: [modules],
    outdir: page,
    plugins: [scrollbars],
  });
  cpSync(join(__dirname, 'index.html'), join(page, 'index.html'));
  for (const [place, [family, weight]] of Object.entries(FONTS)) {
    const font = join(modules, '@fontsource', family, 'files', `${family}-latin-${weight}-normal.woff2`);
    cpSync(font, join(page, 'public', 'fonts', place));
  }
  // Where Grafana 11 looks for icons, and where 13 does.
  for (const place of ['public', 'public/build']) {
    cpSync(join(ui, 'dist', 'public'), join(page, place), { recursive: true });
  }
}

main().catch((error) => {
  console.error(error.message);
  process.exitCode = 1;
});
