// Tables. Grafana 11 draws them with another component than 13.

import { dateTime } from '@grafana/data';
import { Table } from '@grafana/ui';
import * as unstable from '@grafana/ui/unstable';

import { Empty } from './panel.jsx';

export function DataTable({ panel, frames, width, height, theme, server }) {
  const [frame] = frames;
  if (!frame?.length) {
    return <Empty {...{ panel, width, height, theme }} />;
  }
  const { options, fieldConfig } = panel;
  const [from, to] = [dateTime(server.from * 1000), dateTime(server.to * 1000)];
  const settings = {
    cellHeight: options.cellHeight ?? 'sm',
    data: frame,
    fieldConfig,
    height,
    noHeader: !options.showHeader,
    resizable: true,
    showTypeIcons: options.showTypeIcons,
    structureRev: 1,
    timeRange: { from, to, raw: { from, to } },
    width,
  };
  if (VERSION.startsWith('11.')) {
    return <Table {...settings} initialSortBy={options.sortBy} />;
  }
  return (
    <unstable.TableNG
      {...settings}
      disableSanitizeHtml={false}
      enableVirtualization={false}
      getActions={() => []}
      noValue={fieldConfig.defaults.noValue}
      sortBy={options.sortBy}
    />
  );
}
