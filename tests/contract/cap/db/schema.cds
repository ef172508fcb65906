namespace satchel.bookshop;

using { cuid, managed } from '@sap/cds/common';

entity Authors : cuid, managed {
  name  : String(100) not null;
  born  : Date;
  books : Association to many Books on books.author = $self;
}

entity Books : cuid, managed {
  title     : String(200) not null;
  price     : Decimal(9, 2);
  weight    : Decimal(15, 5);
  stock     : Integer;
  sold      : Integer64;
  rating    : Double;
  available : Boolean;
  published : Date;
  arrives   : DateTime;
  counted   : Timestamp;
  opens     : Time;
  blurb     : LargeString;
  tags      : many String;
  author    : Association to Authors;
}

entity Orders : cuid, managed {
  number : String(20);
  total  : Decimal(15, 4);
  items  : Composition of many OrderItems on items.parent = $self;
}

/** A composite key, one part of it a lookup. */
entity OrderItems : managed {
  key parent : Association to Orders;
  key line   : Integer;
  book       : Association to Books;
  amount     : Integer;
}

/** No time of modification: read whole and compared. */
entity Genres {
  key code : String(10);
  name     : String(100);
}

/** Each executed write of a book, in order. */
entity Writes {
  key n : Integer;
  event : String(10);
  book  : UUID;
  agent : String(200);
  data  : LargeString;
}
