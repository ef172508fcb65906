using { satchel.bookshop as db } from '../db/schema';

@requires: 'any'
service Bookshop @(path: '/odata/v4/bookshop') {
  entity Authors    as projection on db.Authors;
  entity Books      as projection on db.Books;
  entity Orders     as projection on db.Orders;
  entity OrderItems as projection on db.OrderItems;
  entity Genres     as projection on db.Genres;
}

// Books have versions, and nobody may change one blindly; the other entities have none.
annotate Bookshop.Books with { modifiedAt @odata.etag };
