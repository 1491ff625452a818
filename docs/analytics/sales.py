"""Sales per week: asks the marketplace, adds up in DuckDB, prints a table and draws a chart.

    pip install duckdb 'psycopg[binary]' matplotlib
    export DATABASE_URL=$(tradepost admin analyst admit ann)
    python sales.py --chart sales.png
    python sales.py --export FOLDER --chart sales.png

Run it as a script, or cell by cell: editors that know `# %%` show it as a notebook.
"""

# %% What to read, and where to draw.
import argparse
import os
from decimal import Decimal
from pathlib import Path

import duckdb
import matplotlib
import psycopg

matplotlib.use("Agg")  # Draws into files, also where there is no screen.
import matplotlib.pyplot as plt  # noqa: E402

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("url", nargs="?", help="the address that `tradepost admin analyst admit` prints, or $DATABASE_URL")
parser.add_argument("--export", type=Path, metavar="FOLDER", help="a folder of `tradepost export --format parquet`")
parser.add_argument("--chart", type=Path, default=Path("sales.png"), metavar="FILE")
arguments = parser.parse_args()
if arguments.url and arguments.export:
    parser.error("give an address or --export")
url = arguments.url or os.environ.get("DATABASE_URL", "")

# Minor units of the currencies (ISO 4217) that have not two decimals.
DECIMALS = {
    **dict.fromkeys("BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF".split(), 0),
    **dict.fromkeys("BHD IQD JOD KWD LYD OMR TND".split(), 3),
    **dict.fromkeys("CLF UYW".split(), 4),
}

# %% Sales per day, from the database or from the files. Either way a table of DuckDB.
duck = duckdb.connect()
duck.execute(
    "create table days (day date, currency varchar, orders bigint, gross hugeint, refunded hugeint, fees hugeint)"
)
if arguments.export is None:
    # Without an address, as PGHOST, PGUSER and so on say.
    with psycopg.connect(url) as postgres:
        rows = postgres.execute(
            """select day, currency, orders + cash_orders, (gross + cash_gross)::text, refunded::text, fees::text
               from analytics.sales_per_day"""
        ).fetchall()
    if rows:
        duck.executemany("insert into days values (?, ?, ?, ?::hugeint, ?::hugeint, ?::hugeint)", rows)
else:
    # The folder of a day holds the whole table as it was then: the last one counts.
    table = arguments.export / "models" / "analytics" / "money_facts"
    last = max(table.glob("date=*"), default=None)
    if last is None:
        parser.error(f"there are no read models in {arguments.export}")
    duck.execute(
        """insert into days
           select cast(timezone('UTC', moved_at) as date), currency, count(*) filter (where kind in ('paid', 'cash')),
               sum(paid + cash), sum(refunded), sum(fee)
           from read_parquet(?, hive_partitioning = false) group by 1, 2""",
        [str(last / "**" / "*.parquet")],
    )

# %% Weeks, with the mean of the last four.
weeks = duck.execute(
    """with calendar as (
           select currency, unnest(generate_series(
               min(date_trunc('week', day)), max(date_trunc('week', day)), interval 1 week))::date as week
           from days group by currency
       ), sold as (
           select currency, date_trunc('week', day)::date as week, sum(orders) as orders, sum(gross) as gross,
               sum(fees) as fees
           from days group by all
       ), weeks as (
           select currency, week, coalesce(orders, 0), coalesce(gross, 0) as gross, coalesce(fees, 0)
           from calendar left join sold using (currency, week)
       )
       select *, avg(gross) over (partition by currency order by week rows between 3 preceding and current row)
       from weeks order by currency, week"""
).fetchall()
print(f"{'week of':<12}{'orders':>8}{'gross':>18}{'fees':>14}")
for currency, week, orders, gross, fees, _ in weeks:
    digits = DECIMALS.get(currency, 2)
    gross, fees = (f"{Decimal(amount).scaleb(-digits):,.{digits}f} {currency}" for amount in (gross, fees))
    print(f"{week:%Y-%m-%d}  {orders:>8}{gross:>18}{fees:>14}")

# %% A chart for each currency: bars are weeks, the line is the mean.
currencies = sorted({row[0] for row in weeks}) or ["no sales yet"]
figure, axes = plt.subplots(len(currencies), 1, figsize=(9, 3 * len(currencies)), squeeze=False, layout="constrained")
for axis, currency in zip(axes[:, 0], currencies):
    unit = 10 ** DECIMALS.get(currency, 2)
    of_it = [row for row in weeks if row[0] == currency]
    axis.bar([row[1] for row in of_it], [float(row[3]) / unit for row in of_it], width=5, label="sold in the week")
    axis.plot([row[1] for row in of_it], [float(row[5]) / unit for row in of_it], color="black", label="mean of four weeks")
    axis.set_title(f"Sales in {currency}")
    axis.margins(y=0.25)
    axis.legend(loc="upper left", ncols=2)
figure.savefig(arguments.chart, dpi=120)
print(f"{len(weeks)} weeks, drawn into {arguments.chart}")
