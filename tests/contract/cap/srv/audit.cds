using { satchel.bookshop as db } from '../db/schema';

/** What was written to books, for tests to ask: no part of the bookshop. */
@requires: 'any'
service Audit @(path: '/odata/v4/audit') {
  @readonly entity Writes as projection on db.Writes;
}
