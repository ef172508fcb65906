// The contacts as Zero sees them, and the one query: all of them.
import { boolean, createBuilder, createSchema, defineQueries, defineQuery, number, string, table } from "@rocicorp/zero";

const contacts = table("contacts")
  .columns({
    id: string(), firstname: string(), lastname: string(), email: string(), phone: string(), jobtitle: string(),
    account: string(), city: string(), zip: string(), owner: string(), statecode: number(), credit: number(),
    modified: string(), ver: number(), optout: boolean(),
  })
  .primaryKey("id");

export const schema = createSchema({ tables: [contacts] });
const zql = createBuilder(schema);
export const queries = defineQueries({ all: defineQuery(() => zql.contacts) });
