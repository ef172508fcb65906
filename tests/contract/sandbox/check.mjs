// Drives the sample organization with dynamics-web-api and prints what came back, as one JSON object.
import { DynamicsWebApi } from "dynamics-web-api";

const [serverUrl, token, objectId] = process.argv.slice(2);
const api = new DynamicsWebApi({
  serverUrl, dataApi: { version: "9.2" }, onTokenRefresh: async () => token,
});
const out = {};
const status = async (promise) => { try { await promise; return 0; } catch (error) { return error.status; } };

out.who = await api.callFunction({ functionName: "WhoAmI" });
const page = await api.retrieveMultiple({ collection: "contacts", select: ["fullname"], maxPageSize: 10, count: true,
  filter: "statecode eq 0 and creditlimit gt 100", orderBy: ["fullname desc"] });
const next = await api.retrieveMultiple({ collection: "contacts", select: ["fullname"], maxPageSize: 10 }, page.oDataNextLink);
out.pages = [page.value.length, next.value.length, page.oDataCount];
out.names = [...page.value, ...next.value].map((row) => row.fullname);

const created = await api.create({ collection: "accounts", data: { name: "Made elsewhere", creditlimit: 94.5 },
  returnRepresentation: true, select: ["name", "creditlimit"] });
const key = created.accountid;
out.created = [created.name, created.creditlimit];
const contact = await api.create({ collection: "contacts",
  data: { lastname: "Kim", firstname: "Ann", "parentcustomerid_account@odata.bind": `/accounts(${key})` } });
const shown = await api.retrieve({ collection: "contacts", key: contact, includeAnnotations: "*" });
out.lookup = [shown.fullname, shown._parentcustomerid_value === key,
  shown["_parentcustomerid_value@Microsoft.Dynamics.CRM.lookuplogicalname"]];
await api.update({ collection: "accounts", key, data: { "primarycontactid@odata.bind": `/contacts(${contact})` } });
const expanded = await api.retrieve({ collection: "accounts", key, select: ["name"],
  expand: [{ property: "primarycontactid", select: ["fullname"] }] });
out.expanded = expanded.primarycontactid.fullname;

const etag = expanded["@odata.etag"];
out.updated = await status(api.update({ collection: "accounts", key, data: { name: "B" }, ifmatch: etag }));
// This client tells a 412 (and the 404 of If-Match: *) by a value instead of an error.
out.stale = await api.update({ collection: "accounts", key, data: { name: "C" }, ifmatch: etag });
out.preventCreate = await api.upsert({ collection: "accounts", key: "11111111-1111-4111-8111-111111111111",
  data: { name: "N" }, ifmatch: "*" });
out.preventUpdate = await api.upsert({ collection: "accounts", key, data: { name: "N" }, ifnonematch: "*" });
out.kept = (await api.retrieve({ collection: "accounts", key, select: ["name"] })).name;
out.upserted = await status(api.upsert({ collection: "accounts", key: "22222222-2222-4222-8222-222222222222", data: { name: "U" } }));

const known = (await api.retrieve({ collection: "accounts", key, select: ["name"] }))["@odata.etag"];
out.notModified = await api.retrieve({ collection: "accounts", key, select: ["name"], ifnonematch: known })
  .then((row) => (row?.name ? 200 : 304), (error) => error.status);

const tracked = await api.retrieveMultiple({ collection: "accounts", select: ["name"], trackChanges: true, maxPageSize: 5000 });
const link = tracked["@odata.deltaLink"] ?? tracked.oDataDeltaLink;
await api.deleteRecord({ collection: "accounts", key: "22222222-2222-4222-8222-222222222222" });
await api.update({ collection: "accounts", key, data: { name: "Tracked" } });
const delta = await api.retrieveMultiple({ collection: "accounts" }, link);
out.delta = delta.value.map((row) => row.reason ?? row.name);

api.startBatch();
api.create({ collection: "accounts", data: { name: "In a batch" }, contentId: "1" });
api.create({ collection: "contacts", data: { lastname: "Batch", "parentcustomerid_account@odata.bind": "$1" }, contentId: "2" });
out.batch = (await api.executeBatch()).length;
out.batched = (await api.retrieveMultiple({ collection: "contacts", filter: "lastname eq 'Batch'", select: ["_parentcustomerid_value"] }))
  .value.map((row) => Boolean(row._parentcustomerid_value));
api.startBatch();
api.create({ collection: "accounts", data: { name: "Rolled back" } });
api.update({ collection: "accounts", key, data: { nosuchcolumn: 1 } });
out.failedBatch = await api.executeBatch().then(() => [], (errors) => errors.map((one) => one.status));
out.rolledBack = (await api.retrieveMultiple({ collection: "accounts", filter: "name eq 'Rolled back'", select: ["name"] })).value.length;

const entity = await api.retrieveEntity({ key: "LogicalName='contact'",
  select: ["LogicalName", "OwnershipType", "ChangeTrackingEnabled"] });
out.entity = [entity.LogicalName, entity.OwnershipType, entity.ChangeTrackingEnabled];
const entities = await api.retrieveEntities({ select: ["LogicalName"], filter: "ChangeTrackingEnabled eq true" });
out.entities = entities.value.map((one) => one.LogicalName);
const attributes = await api.retrieveAttributes({ entityKey: "LogicalName='contact'", select: ["LogicalName"] });
out.attributes = attributes.value.map((one) => one.LogicalName).includes("parentcustomerid");
const all = await api.count({ collection: "contacts" });
const asUser = new DynamicsWebApi({ serverUrl, dataApi: { version: "9.2" }, onTokenRefresh: async () => token, impersonateAAD: objectId });
out.impersonated = [all, await asUser.count({ collection: "contacts" }),
  (await asUser.callFunction({ functionName: "WhoAmI" })).UserId];
out.deleted = await status(api.deleteRecord({ collection: "contacts", key: contact }));
out.gone = await status(api.retrieve({ collection: "contacts", key: contact, select: ["fullname"] }));
console.log(JSON.stringify(out));
