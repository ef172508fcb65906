"""Products, price lists, currencies."""

from __future__ import annotations

from satchel.sandbox.schema.columns import (
    boolean,
    choice,
    date,
    decimal,
    integer,
    key,
    lookup,
    memo,
    money,
    states,
    text,
    trail,
)
from satchel.sandbox.schema.kinds import Entity

CURRENCY = Entity(
    name="transactioncurrency",
    set_name="transactioncurrencies",
    schema_name="TransactionCurrency",
    label="Currency",
    plural="Currencies",
    name_column="currencyname",
    ownership="OrganizationOwned",
    type_code=9105,
    columns=(
        key("transactioncurrencyid", "Transaction Currency"),
        text("currencyname", "Currency Name", 100, required=True),
        text("isocurrencycode", "Currency Code", 5),
        text("currencysymbol", "Currency Symbol", 13),
        integer("currencyprecision", "Currency Precision", 0, 4),
        decimal("exchangerate", "Exchange Rate", 10, 100_000_000_000),
        *states(),
        *trail(),
    ),
)

PRODUCT = Entity(
    name="product",
    set_name="products",
    schema_name="Product",
    label="Product",
    plural="Products",
    name_column="name",
    ownership="OrganizationOwned",
    type_code=1024,
    alternate_keys=("productnumber",),
    columns=(
        key("productid", "Product"),
        text("name", "Name", 100, required=True),
        text("productnumber", "Product ID", 100),
        memo("description", "Description"),
        choice("productstructure", "Product Structure", "Product", "Product Family", "Product Bundle"),
        text("vendorname", "Vendor", 100),
        money("price", "List Price"),
        money("currentcost", "Current Cost"),
        decimal("stockweight", "Stock Weight", 3, 1_000_000_000),
        decimal("quantityonhand", "Quantity On Hand", 2, 1_000_000_000),
        boolean("isstockitem", "Stock Item"),
        lookup("pricelevelid", "Default Price List", "pricelevel"),
        lookup("transactioncurrencyid", "Currency", "transactioncurrency"),
        *states(((0, "Active"), (1, "Retired"), (2, "Draft")), ((1, "Active"), (2, "Retired"), (0, "Draft"))),
        *trail(),
    ),
)

PRICE_LEVEL = Entity(
    name="pricelevel",
    set_name="pricelevels",
    schema_name="PriceLevel",
    label="Price List",
    plural="Price Lists",
    name_column="name",
    ownership="OrganizationOwned",
    type_code=1022,
    columns=(
        key("pricelevelid", "Price List"),
        text("name", "Name", 100, required=True),
        memo("description", "Description"),
        date("begindate", "Start Date"),
        date("enddate", "End Date"),
        lookup("transactioncurrencyid", "Currency", "transactioncurrency"),
        *states(((0, "Active"), (1, "Inactive")), ((100001, "Active"), (100002, "Inactive"))),
        *trail(),
    ),
)

PRODUCT_PRICE_LEVEL = Entity(
    name="productpricelevel",
    set_name="productpricelevels",
    schema_name="ProductPriceLevel",
    label="Price List Item",
    plural="Price List Items",
    name_column="productnumber",
    ownership="OrganizationOwned",
    type_code=1026,
    columns=(
        key("productpricelevelid", "Product Price List"),
        text("productnumber", "Product ID", 100),
        lookup("pricelevelid", "Price List", "pricelevel"),
        lookup("productid", "Product", "product"),
        lookup("transactioncurrencyid", "Currency", "transactioncurrency"),
        money("amount", "Amount"),
        decimal("percentage", "Percentage", 2, 100_000),
        choice("pricingmethodcode", "Pricing Method", "Currency Amount", "Percent of List"),
        choice("quantitysellingcode", "Quantity Selling Option", "No Control", "Whole", "Whole and Fractional"),
        *trail(),
    ),
)
