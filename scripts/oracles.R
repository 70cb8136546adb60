# Prints the values that tests/test_analysis_{wilcoxon,rank_tests,anova,trend}.py quote from R.
#
#   apt-get install r-base-core r-cran-coin r-cran-exactranktests r-cran-car r-cran-afex
#   Rscript scripts/oracles.R
suppressPackageStartupMessages({
  library(coin); library(exactRankTests); library(car); library(afex)
})
options(digits = 15, width = 110)
cat(R.version.string, "\n")
for (name in c("coin", "exactRankTests", "car", "afex")) cat(name, format(packageVersion(name)), "\n")
section <- function(title) cat("\n##", title, "\n")
show <- function(...) cat(..., "\n")

section("signed rank: the example of ?wilcox.exact, ?wilcox.test and ?wilcoxsign_test")
x <- c(1.83, 0.50, 1.62, 2.48, 1.68, 1.88, 1.55, 3.06, 1.30)
y <- c(0.878, 0.647, 0.598, 2.05, 1.06, 1.29, 1.06, 3.14, 1.29)
print(wilcox.exact(x, y, paired = TRUE, alternative = "greater"))
print(wilcoxsign_test(x ~ y, distribution = "exact", alternative = "greater"))
print(wilcox.test(x, y, paired = TRUE, conf.int = TRUE))

section("signed rank: ties and zeros, d_i = (37 i mod 23) - 9")
coin_p <- function(d, side, zeros, distribution) {
  frame <- data.frame(d = d, zero = 0 * d)
  pvalue(wilcoxsign_test(d ~ zero, data = frame, zero.method = zeros, distribution = distribution,
                         alternative = side))
}
made <- function(n) (37 * seq_len(n)) %% 23 - 9
for (n in c(20, 60, 150, 300)) for (side in c("two.sided", "greater", "less")) {
  show(n, side, coin_p(made(n), side, "Wilcoxon", "exact"), coin_p(made(n), side, "Pratt", "exact"),
       wilcox.exact(made(n)[made(n) != 0], alternative = side, exact = TRUE)$p.value)
}

section("signed rank: the normal approximation, d_i = (37 i mod 230) - 110, n = 3000")
many <- (37 * 1:3000) %% 230 - 110
for (side in c("two.sided", "greater", "less")) {
  show(side, coin_p(many, side, "Wilcoxon", "asymptotic"), coin_p(many, side, "Pratt", "asymptotic"),
       wilcox.test(many[many != 0], alternative = side, exact = FALSE, correct = FALSE)$p.value)
}

show("the first T of 600 pairs beyond 2.5 %", qsignrank(0.025, 600))

section("Friedman and Nemenyi: Demsar 2006, table 6")
auc <- matrix(c(
  0.763, 0.768, 0.771, 0.798, 0.599, 0.591, 0.590, 0.569, 0.954, 0.971, 0.968, 0.967, 0.628, 0.661, 0.654, 0.657,
  0.882, 0.888, 0.886, 0.898, 0.936, 0.931, 0.916, 0.931, 0.661, 0.668, 0.609, 0.685, 0.583, 0.583, 0.563, 0.625,
  0.775, 0.838, 0.866, 0.875, 1.000, 1.000, 1.000, 1.000, 0.940, 0.962, 0.965, 0.962, 0.619, 0.666, 0.614, 0.669,
  0.972, 0.981, 0.975, 0.975, 0.957, 0.978, 0.946, 0.970), ncol = 4, byrow = TRUE)
print(friedman.test(auc))
# His own ranks: those of unrounded AUCs, in which row 13 (wine) has no tie.
unrounded <- auc; unrounded[13, 3] <- 0.9751
print(friedman.test(unrounded))
show("mean ranks", colMeans(t(apply(-unrounded, 1, rank))))
ranks <- colMeans(t(apply(-auc, 1, rank)))
show("mean ranks", ranks)
apart <- abs(outer(ranks, ranks, "-"))
print(ptukey(apart / sqrt(4 * 5 / (12 * 14)), 4, Inf, lower.tail = FALSE))
show("qtukey / sqrt(2)", qtukey(0.95, 4, Inf) / sqrt(2))

section("Friedman: the example of ?friedman.test (Hollander & Wolfe 1973, p. 140ff.)")
rounding <- matrix(c(
  5.40, 5.50, 5.55, 5.85, 5.70, 5.75, 5.20, 5.60, 5.50, 5.55, 5.50, 5.40, 5.90, 5.85, 5.70, 5.45, 5.55, 5.60,
  5.40, 5.40, 5.35, 5.45, 5.50, 5.35, 5.25, 5.15, 5.00, 5.85, 5.80, 5.70, 5.25, 5.20, 5.10, 5.65, 5.55, 5.45,
  5.60, 5.35, 5.45, 5.05, 5.00, 4.95, 5.50, 5.50, 5.40, 5.45, 5.55, 5.50, 5.55, 5.55, 5.35, 5.45, 5.50, 5.55,
  5.50, 5.45, 5.25, 5.65, 5.60, 5.40, 5.70, 5.65, 5.55, 6.30, 6.30, 6.25), ncol = 3, byrow = TRUE)
print(friedman.test(rounding))

section("ANOVA: afex's md_12.1 (Maxwell & Delaney 2004, table 12.1)")
data(md_12.1)
md <- md_12.1[order(md_12.1$noise, md_12.1$angle, md_12.1$id), ]
print(with(md, tapply(rt, list(id, paste(noise, angle)), identity)))
print(summary(aov(rt ~ angle * noise + Error(id / (angle * noise)), data = md_12.1)))
both <- aov_ez("id", "rt", md_12.1, within = c("angle", "noise"), anova_table = list(es = c("ges", "pes")))
tables <- function(fit) {
  print(as.data.frame(fit$anova_table))
  result <- suppressWarnings(summary(fit)) # of a Huynh-Feldt epsilon above 1, which nothing here uses
  print(result$univariate.tests[, ]); print(result$pval.adjustments[, , drop = FALSE])
}
tables(both)
averaged <- aggregate(rt ~ id + angle, md_12.1, mean)
one <- aov_ez("id", "rt", averaged, within = "angle", anova_table = list(es = c("ges", "pes")))
tables(one)

section("ANOVA: car's OBrienKaiser, its 16 subjects as one group, phase (3) x hour (5)")
idata <- data.frame(phase = factor(rep(1:3, each = 5)), hour = factor(rep(1:5, 3)))
model <- lm(as.matrix(OBrienKaiser[, -(1:2)]) ~ 1)
result <- summary(Anova(model, idata = idata, idesign = ~ phase * hour, type = 3), multivariate = FALSE)
print(result$univariate.tests[, ]); print(result$pval.adjustments)

section("Page: the cotton example of ?friedman_test in coin (Hollander & Wolfe 1999, table 7.5)")
cotton <- rbind(c(7.46, 7.17, 7.76, 8.14, 7.63), c(7.68, 7.57, 7.73, 8.15, 8.00), c(7.21, 7.80, 7.74, 7.87, 7.93))
page <- function(scores, side) {
  n <- nrow(scores); k <- ncol(scores)
  frame <- data.frame(y = c(t(scores)), x = ordered(rep(1:k, n)), block = gl(n, k))
  friedman_test(y ~ x | block, data = frame, alternative = side)
}
print(page(cotton, "greater"))
# The exact distribution by convolving the blocks, all orders of the midranks in each alike.
orders <- function(v) if (length(v) < 2) list(v) else
  do.call(c, lapply(seq_along(v), function(i) lapply(orders(v[-i]), function(rest) c(v[i], rest))))
exact_page <- function(scores) {
  ranks <- t(apply(scores, 1, rank)); k <- ncol(ranks)
  chances <- c("0" = 1)
  for (i in seq_len(nrow(ranks))) {
    block <- table(vapply(orders(ranks[i, ]), function(o) sum(o * seq_len(k)), 0)) / factorial(k)
    sums <- outer(as.numeric(names(chances)), as.numeric(names(block)), "+")
    chances <- tapply(c(outer(chances, c(block))), c(sums), sum)
  }
  L <- sum(ranks %*% seq_len(k))
  show("L =", L, " P(>= L) =", sum(chances[as.numeric(names(chances)) >= L]),
       " P(<= L) =", sum(chances[as.numeric(names(chances)) <= L]), " largest L:", tail(chances, 1))
}
exact_page(cotton)

section("Page with ties: rounding first base, the conditions as given, and Demsar's AUCs")
for (side in c("two.sided", "greater", "less")) print(page(rounding, side))
exact_page(rounding)
print(page(auc, "greater")); exact_page(auc)
show("the example of scipy.stats.page_trend_test:")
exact_page(rbind(c(3, 4, 3), c(2, 2, 4), c(3, 3, 5), c(1, 3, 2), c(2, 3, 2),
                 c(2, 4, 5), c(1, 2, 4), c(3, 4, 4), c(2, 4, 5), c(1, 3, 4)))
show("normal, 8 conditions, 12 blocks, y_ij = (7 i + 5 j + i j) mod 6:")
wide <- outer(1:12, 1:8, function(i, j) (7 * i + 5 * j + i * j) %% 6)
for (side in c("two.sided", "greater", "less")) print(pvalue(page(wide, side)))
