// Zero's client, in memory. Reads a JSON line a task, answers with one:
// {"sync": ROWS, "url": URL} -> seconds until all rows are in a view; {"watch": ID, "rows": ROWS, "url": URL} -> a line when
// all rows are there, then one for each new value of that row's jobtitle, with the time on the machine's monotonic clock.
import { createInterface } from "node:readline";
import { performance } from "node:perf_hooks";
import { Zero } from "@rocicorp/zero";
import { queries, schema } from "./schema.mjs";

let number = 0;
const say = (message) => console.log(JSON.stringify(message));

function connect(url) {
  number += 1;
  return new Zero({
    cacheURL: url, schema, userID: "someone", kvStore: "mem", storageKey: `${process.pid}-${number}`, logLevel: "error",
  });
}

function whole(zero, rows) {
  return new Promise((done) => {
    const view = zero.materialize(queries.all());
    view.addListener((data, kind) => {
      if (kind === "complete" && data.length >= rows) done({ view, data });
    });
  });
}

async function sync({ sync: rows, url }) {
  const began = performance.now();
  const zero = connect(url);
  const { data } = await whole(zero, rows);
  const seconds = (performance.now() - began) / 1000;
  const count = data.length;
  await zero.close();
  say({ rows: count, seconds });
}

async function watch({ watch: id, rows, url }) {
  const { view } = await whole(connect(url), rows);
  let last;
  view.addListener((data) => {
    const value = data.find((row) => row.id === id)?.jobtitle;
    const moment = Number(process.hrtime.bigint()) / 1e9;
    if (value !== last) say({ value, moment });
    last = value;
  });
}

for await (const line of createInterface({ input: process.stdin })) {
  const task = JSON.parse(line);
  await (task.sync ? sync(task) : watch(task));
}
process.exit(0);
