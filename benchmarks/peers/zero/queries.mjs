// What zero-cache asks for the meaning of a query: node queries.mjs PORT
import { createServer } from "node:http";
import { mustGetQuery } from "@rocicorp/zero";
import { handleQueryRequest } from "@rocicorp/zero/server";
import { queries, schema } from "./schema.mjs";

const server = createServer(async (request, response) => {
  const parts = [];
  for await (const part of request) parts.push(part);
  const url = new URL(request.url, "http://127.0.0.1");
  const answer = await handleQueryRequest({
    handler: (name, args) => mustGetQuery(queries, name).fn({ args, ctx: {} }),
    schema,
    userID: "someone",
    query: url.searchParams,
    body: JSON.parse(Buffer.concat(parts).toString()),
  });
  response.writeHead(200, { "content-type": "application/json" });
  response.end(JSON.stringify(answer));
});
server.listen(Number(process.argv[2]), "127.0.0.1", () => console.log(JSON.stringify({ ready: true })));
