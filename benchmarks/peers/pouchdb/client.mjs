// PouchDB's client over LevelDB. Reads a JSON line a task, answers with one:
// {"load": FILE, "url": URL} | {"sync": FOLDER, "url": URL} | {"live": FOLDER, "url": URL, "id": ID, "rounds": N}
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { performance } from "node:perf_hooks";
import PouchDB from "pouchdb";

const ROWS_IN_A_BATCH = 5000;
const SYNC = { batch_size: 1000, batches_limit: 10 };
const PAUSE_MS = 100;

async function load({ load: file, url }) {
  const rows = readFileSync(file, "utf8").split("\n").map((line) => {
    const { id, ...rest } = JSON.parse(line);
    return { _id: id, ...rest };
  });
  const database = new PouchDB(url);
  await database.info();
  const began = performance.now();
  for (let start = 0; start < rows.length; start += ROWS_IN_A_BATCH) {
    await database.bulkDocs(rows.slice(start, start + ROWS_IN_A_BATCH));
  }
  return { rows: rows.length, seconds: (performance.now() - began) / 1000 };
}

async function sync({ sync: folder, url }) {
  const local = new PouchDB(folder);
  const began = performance.now();
  const found = await PouchDB.replicate(new PouchDB(url), local, SYNC);
  const seconds = (performance.now() - began) / 1000;
  await local.close();
  return { rows: found.docs_written, seconds };
}

// Milliseconds from the server's answer to a change until a connected client has it.
async function live({ live: folder, url, id, rounds }) {
  const local = new PouchDB(folder);
  const remote = new PouchDB(url);
  const running = PouchDB.replicate(remote, local, { ...SYNC, live: true, since: "now" });
  const waits = [];
  await new Promise((done) => running.once("active", done).once("paused", done));
  for (let round = 0; round < rounds; round += 1) {
    await new Promise((done) => setTimeout(done, PAUSE_MS));
    const row = await remote.get(id);
    const arrived = new Promise((done) => running.once("change", done));
    await remote.put({ ...row, jobtitle: `round ${round}` });
    const began = performance.now();
    await arrived;
    waits.push(performance.now() - began);
  }
  running.cancel();
  return { waits };
}

for await (const line of createInterface({ input: process.stdin })) {
  const task = JSON.parse(line);
  const found = task.load ? await load(task) : task.sync ? await sync(task) : await live(task);
  console.log(JSON.stringify(found));
}
process.exit(0);
