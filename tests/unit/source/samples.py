"""Metadata documents as services write them."""

BOOKSHOP = """<edmx:Edmx Version="4.0" xmlns:edmx="http://docs.oasis-open.org/odata/ns/edmx">
  <edmx:Reference Uri="https://sap.github.io/odata-vocabularies/vocabularies/Common.xml">
    <edmx:Include Alias="Common" Namespace="com.sap.vocabularies.Common.v1"/>
  </edmx:Reference>
  <edmx:Reference Uri="https://oasis-tcs.github.io/odata-vocabularies/vocabularies/Org.OData.Core.V1.xml">
    <edmx:Include Alias="Core" Namespace="Org.OData.Core.V1"/>
  </edmx:Reference>
  <edmx:DataServices>
    <Schema Namespace="Shop.Types" Alias="types" xmlns="http://docs.oasis-open.org/odata/ns/edm">
      <TypeDefinition Name="Isbn" UnderlyingType="Edm.String" MaxLength="13"/>
      <EnumType Name="Size"><Member Name="small" Value="0"/></EnumType>
      <ComplexType Name="Place"><Property Name="city" Type="Edm.String"/></ComplexType>
    </Schema>
    <Schema Namespace="Shop" xmlns="http://docs.oasis-open.org/odata/ns/edm">
      <EntityContainer Name="EntityContainer">
        <EntitySet Name="Books" EntityType="Shop.Books"/>
        <EntitySet Name="Orders" EntityType="Shop.Orders">
          <Annotation Term="Org.OData.Capabilities.V1.ChangeTracking">
            <Record><PropertyValue Property="Supported" Bool="true"/></Record>
          </Annotation>
        </EntitySet>
        <EntitySet Name="OrderItems" EntityType="Shop.OrderItems">
          <NavigationPropertyBinding Path="parent" Target="Orders"/>
        </EntitySet>
      </EntityContainer>
      <EntityType Name="Books">
        <Key><PropertyRef Name="ID"/></Key>
        <Property Name="ID" Type="Edm.Guid" Nullable="false"/>
        <Property Name="modifiedAt" Type="Edm.DateTimeOffset" Precision="7"/>
        <Property Name="title" Type="Edm.String" MaxLength="200"/>
        <Property Name="blurb" Type="Edm.String" MaxLength="5000"/>
        <Property Name="price" Type="Edm.Decimal" Precision="9" Scale="2"/>
        <Property Name="stock" Type="Edm.Int32"/>
        <Property Name="sold" Type="Edm.Int64"/>
        <Property Name="rating" Type="Edm.Double"/>
        <Property Name="available" Type="Edm.Boolean"/>
        <Property Name="published" Type="Edm.Date"/>
        <Property Name="opens" Type="Edm.TimeOfDay"/>
        <Property Name="cover" Type="Edm.Binary"/>
        <Property Name="film" Type="Edm.Stream"/>
        <Property Name="tags" Type="Collection(Edm.String)"/>
        <Property Name="place" Type="types.Place"/>
        <Property Name="size" Type="types.Size"/>
        <Property Name="isbn" Type="types.Isbn"/>
      </EntityType>
      <EntityType Name="Orders">
        <Key><PropertyRef Name="ID"/></Key>
        <Property Name="ID" Type="Edm.Guid" Nullable="false"/>
      </EntityType>
      <EntityType Name="OrderItems">
        <Key><PropertyRef Name="parent_ID"/><PropertyRef Name="line"/></Key>
        <NavigationProperty Name="parent" Type="Shop.Orders">
          <ReferentialConstraint Property="parent_ID" ReferencedProperty="ID"/>
        </NavigationProperty>
        <Property Name="parent_ID" Type="Edm.Guid" Nullable="false"/>
        <Property Name="line" Type="Edm.Int32" Nullable="false"/>
      </EntityType>
      <Annotations Target="Shop.Books/modifiedAt">
        <Annotation Term="Core.Computed" Bool="true"/>
        <Annotation Term="Common.Label" String="Changed On"/>
      </Annotations>
    </Schema>
  </edmx:DataServices>
</edmx:Edmx>"""

DATAVERSE = """<?xml version="1.0" encoding="utf-8"?>
<edmx:Edmx Version="4.0" xmlns:edmx="http://docs.oasis-open.org/odata/ns/edmx"><edmx:DataServices>
<Schema Namespace="Microsoft.Dynamics.CRM" Alias="mscrm" xmlns="http://docs.oasis-open.org/odata/ns/edm">
  <EntityType Name="crmbaseentity" Abstract="true" />
  <EntityType Name="principal" BaseType="mscrm.crmbaseentity" Abstract="true">
    <Key><PropertyRef Name="ownerid" /></Key>
    <Property Name="ownerid" Type="Edm.Guid" />
  </EntityType>
  <EntityType Name="systemuser" BaseType="mscrm.principal">
    <Key><PropertyRef Name="systemuserid" /></Key>
    <Property Name="systemuserid" Type="Edm.Guid" />
    <Property Name="fullname" Type="Edm.String" Unicode="false" />
  </EntityType>
  <EntityType Name="team" BaseType="mscrm.principal">
    <Key><PropertyRef Name="teamid" /></Key>
    <Property Name="teamid" Type="Edm.Guid" />
  </EntityType>
  <EntityType Name="account" BaseType="mscrm.crmbaseentity">
    <Key><PropertyRef Name="accountid" /></Key>
    <Property Name="accountid" Type="Edm.Guid" />
    <Property Name="name" Type="Edm.String" Unicode="false" />
    <Property Name="industrycode" Type="Edm.Int32" />
    <Property Name="revenue" Type="Edm.Decimal" Scale="Variable" />
    <Property Name="description" Type="Edm.String" />
    <Property Name="modifiedon" Type="Edm.DateTimeOffset" />
    <Property Name="versionnumber" Type="Edm.Int64" />
    <Property Name="_primarycontactid_value" Type="Edm.Guid" />
    <Property Name="_ownerid_value" Type="Edm.Guid" />
    <NavigationProperty Name="primarycontactid" Type="mscrm.contact" Partner="account_primary_contact">
      <ReferentialConstraint Property="_primarycontactid_value" ReferencedProperty="contactid" />
    </NavigationProperty>
    <NavigationProperty Name="ownerid" Type="mscrm.principal" Nullable="false">
      <ReferentialConstraint Property="_ownerid_value" ReferencedProperty="ownerid" />
    </NavigationProperty>
    <NavigationProperty Name="contact_customer_accounts" Type="Collection(mscrm.contact)" />
  </EntityType>
  <EntityType Name="contact" BaseType="mscrm.crmbaseentity">
    <Key><PropertyRef Name="contactid" /></Key>
    <Property Name="contactid" Type="Edm.Guid" />
    <Property Name="_parentcustomerid_value" Type="Edm.Guid" />
    <NavigationProperty Name="parentcustomerid_account" Type="mscrm.account">
      <ReferentialConstraint Property="_parentcustomerid_value" ReferencedProperty="accountid" />
    </NavigationProperty>
    <NavigationProperty Name="parentcustomerid_contact" Type="mscrm.contact">
      <ReferentialConstraint Property="_parentcustomerid_value" ReferencedProperty="contactid" />
    </NavigationProperty>
  </EntityType>
  <EntityType Name="activitypointer" BaseType="mscrm.crmbaseentity">
    <Key><PropertyRef Name="activityid" /></Key>
    <Property Name="activityid" Type="Edm.Guid" />
    <Property Name="subject" Type="Edm.String" />
    <Property Name="modifiedon" Type="Edm.DateTimeOffset" />
  </EntityType>
  <EntityType Name="task" BaseType="mscrm.activitypointer">
    <Property Name="percentcomplete" Type="Edm.Int32" />
  </EntityType>
  <Action Name="WinOpportunity"><Parameter Name="Status" Type="Edm.Int32" Nullable="false" /></Action>
  <EntityContainer Name="System">
    <EntitySet Name="accounts" EntityType="Microsoft.Dynamics.CRM.account" />
    <EntitySet Name="contacts" EntityType="Microsoft.Dynamics.CRM.contact" />
    <EntitySet Name="systemusers" EntityType="Microsoft.Dynamics.CRM.systemuser" />
    <EntitySet Name="teams" EntityType="Microsoft.Dynamics.CRM.team" />
    <EntitySet Name="activitypointers" EntityType="Microsoft.Dynamics.CRM.activitypointer" />
    <EntitySet Name="tasks" EntityType="Microsoft.Dynamics.CRM.task" />
  </EntityContainer>
</Schema></edmx:DataServices></edmx:Edmx>"""
