// express-pouchdb over LevelDB: node server.mjs PORT FOLDER
import express from "express";
import expressPouchDB from "express-pouchdb";
import PouchDB from "pouchdb";

const [port, folder] = process.argv.slice(2);
const Stored = PouchDB.defaults({ prefix: `${folder}/` });
const app = express();
app.use("/", expressPouchDB(Stored, { mode: "minimumForPouchDB", inMemoryConfig: true, logPath: `${folder}/log.txt` }));
app.listen(Number(port), "127.0.0.1", () => console.log(JSON.stringify({ ready: true })));
