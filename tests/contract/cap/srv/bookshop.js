const cds = require('@sap/cds')

const WRITES = 'satchel.bookshop.Writes'
let last = 0 // transactions follow one another on the one connection there is: what rises here rises in commit order

/** Keeps, in the transaction of a write, that it was executed: what is rolled back was never there. */
module.exports = class Bookshop extends cds.ApplicationService {
  init() {
    this.after(['CREATE', 'UPDATE', 'DELETE'], 'Books', async (_, request) => {
      const { event, data } = request
      const agent = cds.context.http.req.headers['user-agent']
      await INSERT.into(WRITES).entries({ n: ++last, event, book: data.ID, agent, data: JSON.stringify(data) })
    })
    return super.init()
  }
}
