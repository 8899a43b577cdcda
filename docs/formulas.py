"""The formulas of docstrings as the pages set them: as written there, and in LaTeX.

A docstring has its formula in plain text, for `help()` and the editor. On the pages it
is set as a formula: on a line of its own where it is a whole paragraph, in the text
otherwise. `tests/test_docs.py` sees that each has its line here, and each line its
formula.
"""

FORMULAS = {
    # Layers
    "output[t, i, j] = transitions[i, j] + e[t, j]": (
        r"\mathrm{output}_{t,i,j}=\mathrm{transitions}_{i,j}+e_{t,j}"
    ),
    "output = max(input, tau)": r"\mathrm{output}=\max(\mathrm{input},\tau)",
    "cost[p, q] = mean over u, v, c of a[y + u, x + v, c] * b[y + u + s * p, ...]": (
        r"\mathrm{cost}_{p,q}=\mathrm{mean}_{u,v,c}\,"
        r"a_{y+u,\,x+v,\,c}\;b_{y+u+sp,\,x+v+sq,\,c}"
    ),
    "output[y, x] = input[cy + sin(a) * (x - cx) + cos(a) * (y - cy), ...]": (
        r"\mathrm{output}_{y,x}="
        r"\mathrm{input}_{c_y+\sin a\,(x-c_x)+\cos a\,(y-c_y),\,\dots}"
    ),
    "output[i, j] = median over m, n of input[i + m - (h - 1) // 2, ...]": (
        r"\mathrm{output}_{i,j}=\mathrm{median}_{m,n}\,"
        r"\mathrm{input}_{i+m-\lfloor(h-1)/2\rfloor,\dots}"
    ),
    "output[y, x] = input[y - flow[y, x, 0], x - flow[y, x, 1]]": (
        r"\mathrm{output}_{y,x}="
        r"\mathrm{input}_{y-\mathrm{flow}_{y,x,0},\;x-\mathrm{flow}_{y,x,1}}"
    ),
    "f(x) = sum over i of w_i * phi(|x - c_i|) + v · x + b": (
        r"f(x)=\sum_i w_i\,\phi(\lVert x-c_i\rVert)+v\cdot x+b"
    ),
    "z = LN(x · kernel) + LN(h · recurrent_kernel) + bias": (
        r"z=\mathrm{LN}(x\cdot\mathrm{kernel})+"
        r"\mathrm{LN}(h\cdot\mathrm{recurrent\_kernel})+\mathrm{bias}"
    ),
    "c_new = sigmoid(z_f) * c + sigmoid(z_i) * tanh(z_c)": (
        r"c_{\mathrm{new}}=\sigma(z_f)\odot c+\sigma(z_i)\odot\tanh(z_c)"
    ),
    "h_new = sigmoid(z_o) * tanh(LN(c_new))": (
        r"h_{\mathrm{new}}=\sigma(z_o)\odot\tanh(\mathrm{LN}(c_{\mathrm{new}}))"
    ),
    "c_new = sigmoid(z_f + p_f * c) * c + sigmoid(z_i + p_i * c) * tanh(z_c)": (
        r"c_{\mathrm{new}}=\sigma(z_f+p_f\odot c)\odot c+"
        r"\sigma(z_i+p_i\odot c)\odot\tanh(z_c)"
    ),
    "h_new = sigmoid(z_o + p_o * c_new) * tanh(c_new)": (
        r"h_{\mathrm{new}}=\sigma(z_o+p_o\odot c_{\mathrm{new}})\odot"
        r"\tanh(c_{\mathrm{new}})"
    ),
    "n_k = act_k(x_k + m_k)": r"n_k=\mathrm{act}_k(x_k+m_k)",
    "c_new = tanh(tanh(n_0 * n_1) + c) * tanh(n_2 + n_3)": (
        r"c_{\mathrm{new}}=\tanh(\tanh(n_0\odot n_1)+c)\odot\tanh(n_2+n_3)"
    ),
    "h_new = tanh(c_new * tanh(tanh(n_4 * n_5) + sigmoid(n_6 + n_7)))": (
        r"h_{\mathrm{new}}=\tanh(c_{\mathrm{new}}\odot"
        r"\tanh(\tanh(n_4\odot n_5)+\sigma(n_6+n_7)))"
    ),
    "output = project(concat(c1x1(x), c3x3_rate1(x), ..., c3x3_raten(x), image(x)))": (
        r"\mathrm{output}=\mathrm{project}(\mathrm{concat}(c_{1\times1}(x),"
        r"c_{3\times3}^{\mathrm{rate}_1}(x),\dots,c_{3\times3}^{\mathrm{rate}_n}(x),"
        r"\mathrm{image}(x)))"
    ),
    "output[i, j] = sum over m, n of b[m] * b[n] * input[s * i + m - (k - 1) // 2, ...]"
    "": (
        r"\mathrm{output}_{i,j}=\sum_{m,n}b_m\,b_n\,"
        r"\mathrm{input}_{s i+m-\lfloor(k-1)/2\rfloor,\dots}"
    ),
    "output = input * kept * count(kept) / sum(kept)": (
        r"\mathrm{output}=\mathrm{input}\cdot\mathrm{kept}\cdot"
        r"\frac{\mathrm{count}(\mathrm{kept})}{\mathrm{sum}(\mathrm{kept})}"
    ),
    "gamma = rate / (b * b) * H * W / ((H - b + 1) * (W - b + 1))": (
        r"\gamma=\frac{\mathrm{rate}}{b^2}\cdot\frac{HW}{(H-b+1)(W-b+1)}"
    ),
    "output = concat(chain_1(x), ..., chain_n(x), pooled(x))": (
        r"\mathrm{output}=\mathrm{concat}(\mathrm{chain}_1(x),\dots,"
        r"\mathrm{chain}_n(x),\mathrm{pooled}(x))"
    ),
    "merged[i] = lateral[i](x[i]) + upsample(merged[i + 1])": (
        r"\mathrm{merged}_i=\mathrm{lateral}_i(x_i)+"
        r"\mathrm{upsample}(\mathrm{merged}_{i+1})"
    ),
    "output[i] = smooth[i](merged[i])": (
        r"\mathrm{output}_i=\mathrm{smooth}_i(\mathrm{merged}_i)"
    ),
    "output = gamma * input / sqrt(mean(input^2) + epsilon) + beta": (
        r"\mathrm{output}=\gamma\,\frac{\mathrm{input}}"
        r"{\sqrt{\mathrm{mean}(\mathrm{input}^2)+\varepsilon}}+\beta"
    ),
    "output = project(se(act(expand(x))))": (
        r"\mathrm{output}=\mathrm{project}(\mathrm{se}(\mathrm{act}(\mathrm{expand}(x))))"
    ),
    "output = gamma * (input * relative) + beta + input": (
        r"\mathrm{output}=\gamma\,(\mathrm{input}\cdot\mathrm{relative})+\beta+"
        r"\mathrm{input}"
    ),
    "output = concat(c1(x), c3(r3(x)), c5(r5(x)), p(maxpool3x3(x)))": (
        r"\mathrm{output}=\mathrm{concat}(c_1(x),c_3(r_3(x)),c_5(r_5(x)),"
        r"p(\mathrm{maxpool}_{3\times3}(x)))"
    ),
    "output = project(se(act(depthwise(act(expand(x))))))": (
        r"\mathrm{output}=\mathrm{project}(\mathrm{se}(\mathrm{act}("
        r"\mathrm{depthwise}(\mathrm{act}(\mathrm{expand}(x))))))"
    ),
    "output = inputs * gamma": r"\mathrm{output}=\mathrm{inputs}\cdot\gamma",
    "output[u] = max(inputs[u * k], ..., inputs[u * k + k - 1])": (
        r"\mathrm{output}_u=\max(\mathrm{inputs}_{uk},\dots,\mathrm{inputs}_{uk+k-1})"
    ),
    "output = activation(inputs · (kernel + sigma_kernel * e) + bias + sigma_bias * f)"
    "": (
        r"\mathrm{output}=\mathrm{activation}(\mathrm{inputs}\cdot"
        r"(\mathrm{kernel}+\sigma_{\mathrm{kernel}}\,e)+\mathrm{bias}+"
        r"\sigma_{\mathrm{bias}}\,f)"
    ),
    "output = input * gate(W2 · act(W1 · mean(input) + b1) + b2)": (
        r"\mathrm{output}=\mathrm{input}\cdot\mathrm{gate}(W_2\cdot\mathrm{act}("
        r"W_1\cdot\mathrm{mean}(\mathrm{input})+b_1)+b_2)"
    ),
    "output = argmax over y of sum over t of potentials[t, y[t - 1], y[t]]": (
        r"\mathrm{output}=\arg\max_y\sum_t\mathrm{potentials}_{t,\,y_{t-1},\,y_t}"
    ),
    "w = (kernel - mean(kernel)) / sqrt(variance(kernel) + epsilon)": (
        r"w=\frac{\mathrm{kernel}-\mathrm{mean}(\mathrm{kernel})}"
        r"{\sqrt{\mathrm{variance}(\mathrm{kernel})+\varepsilon}}"
    ),
    "output = x + sin(a * x)^2 / a": r"\mathrm{output}=x+\frac{\sin^2(a\,x)}{a}",
    # Losses
    "luminance = (2 mean_x mean_y + c1) / (mean_x^2 + mean_y^2 + c1)": (
        r"\mathrm{luminance}=\frac{2\mu_x\mu_y+c_1}{\mu_x^2+\mu_y^2+c_1},"
        r"\quad\mu=\mathrm{mean}"
    ),
    "structure = (2 covariance + c2) / (variance_x + variance_y + c2)": (
        r"\mathrm{structure}=\frac{2\,\mathrm{covariance}+c_2}"
        r"{\mathrm{variance}_x+\mathrm{variance}_y+c_2}"
    ),
    "ssim = luminance * structure": (
        r"\mathrm{ssim}=\mathrm{luminance}\cdot\mathrm{structure}"
    ),
    "loss = mean(sqrt((y_true - y_pred)^2 + epsilon^2))": (
        r"\mathrm{loss}=\mathrm{mean}\sqrt{(y_{\mathrm{true}}-y_{\mathrm{pred}})^2+"
        r"\varepsilon^2}"
    ),
    "loss = y * d^2 + (1 - y) * max(margin - d, 0)^2": (
        r"\mathrm{loss}=y\,d^2+(1-y)\,\max(\mathrm{margin}-d,\,0)^2"
    ),
    "loss = 1 - overlap": r"\mathrm{loss}=1-\mathrm{overlap}",
    "J(i, j) = log(sum_k exp(margin - D(i, k)) + sum_l exp(margin - D(j, l))) + D(i, j)"
    "": (
        r"J(i,j)=\log\left(\sum_k e^{\mathrm{margin}-D(i,k)}+"
        r"\sum_l e^{\mathrm{margin}-D(j,l)}\right)+D(i,j)"
    ),
    "loss = mean over j of max(0, J(i, j))^2 / 2": (
        r"\mathrm{loss}=\frac12\,\mathrm{mean}_j\,\max(0,\,J(i,j))^2"
    ),
    "loss = mean over classes c of sum over pixels i of m[i] (J[i] - J[i - 1])": (
        r"\mathrm{loss}=\mathrm{mean}_c\sum_i m_i\,(J_i-J_{i-1}),"
        r"\quad c\text{ a class},\ i\text{ a pixel}"
    ),
    "loss = -sum over j of t[i, j] * log(softmax(S[i])[j])": (
        r"\mathrm{loss}=-\sum_j t_{i,j}\,\log\mathrm{softmax}(S_i)_j"
    ),
    "loss = -log(exp(z_a.z_p / T) / sum_k exp(z_a.z_k / T))": (
        r"\mathrm{loss}=-\log\frac{e^{z_a\cdot z_p/T}}{\sum_k e^{z_a\cdot z_k/T}}"
    ),
    "loss = mean(max(tau * (y_true - y_pred), (tau - 1) * (y_true - y_pred)))": (
        r"\mathrm{loss}=\mathrm{mean}\,\max(\tau\,(y_{\mathrm{true}}-y_{\mathrm{pred}}),"
        r"\ (\tau-1)(y_{\mathrm{true}}-y_{\mathrm{pred}}))"
    ),
    "loss = -log(p[t]) + epsilon (1 - p[t])": (
        r"\mathrm{loss}=-\log p_t+\varepsilon\,(1-p_t)"
    ),
    "loss = -(1 - s) log(p[t]) - s mean(log(p))": (
        r"\mathrm{loss}=-(1-s)\log p_t-s\,\mathrm{mean}(\log p)"
    ),
    "loss = -alpha[t] * (1 - p)^gamma * log(p)": (
        r"\mathrm{loss}=-\alpha_t\,(1-p)^\gamma\log p"
    ),
    "loss = -z[t] + sum over S of (z^2 - tau^2) / 2 + 1/2": (
        r"\mathrm{loss}=-z_t+\frac12\sum_{j\in S}(z_j^2-\tau^2)+\frac12"
    ),
    "loss = (sum((q - z)^2) - sum((p - z)^2)) / 2": (
        r"\mathrm{loss}=\frac12\left(\sum_j(q_j-z_j)^2-\sum_j(p_j-z_j)^2\right)"
    ),
    "loss = -1/|P| * sum over p in P of log(exp(z_a.z_p / T) / sum_k exp(z_a.z_k / T))"
    "": (
        r"\mathrm{loss}=-\frac1{\lvert P\rvert}\sum_{p\in P}"
        r"\log\frac{e^{z_a\cdot z_p/T}}{\sum_k e^{z_a\cdot z_k/T}}"
    ),
    "loss = max(0, margin + max_p D(a, p) - min_n D(a, n))": (
        r"\mathrm{loss}=\max(0,\ \mathrm{margin}+\max_p D(a,p)-\min_n D(a,n))"
    ),
    "loss = log(1 + exp(max_p D(a, p) - min_n D(a, n)))": (
        r"\mathrm{loss}=\log\left(1+e^{\max_p D(a,p)-\min_n D(a,n)}\right)"
    ),
    "loss = mean over p of max(0, margin + D(a, p) - D(a, n))": (
        r"\mathrm{loss}=\mathrm{mean}_p\,\max(0,\ \mathrm{margin}+D(a,p)-D(a,n))"
    ),
    # Metrics
    "AP = sum over k of (R[k] - R[k - 1]) * P[k]": (
        r"\mathrm{AP}=\sum_k(R_k-R_{k-1})\,P_k"
    ),
    "accuracy = mean over classes i of C[i, i] / sum_j C[i, j]": (
        r"\mathrm{accuracy}=\mathrm{mean}_i\,\frac{C_{i,i}}{\sum_j C_{i,j}},"
        r"\quad i\text{ a class}"
    ),
    "adjusted = (accuracy - 1 / K) / (1 - 1 / K)": (
        r"\mathrm{adjusted}=\frac{\mathrm{accuracy}-1/K}{1-1/K}"
    ),
    "score = sum over classes c of (p[c] - 1[y = c])^2": (
        r"\mathrm{score}=\sum_c(p_c-1[y=c])^2"
    ),
    "kappa = 1 - sum(cost * observed) / sum(cost * expected)": (
        r"\kappa=1-\frac{\sum\mathrm{cost}\cdot\mathrm{observed}}"
        r"{\sum\mathrm{cost}\cdot\mathrm{expected}}"
    ),
    "exact match = sum(w * all labels right) / sum(w)": (
        r"\text{exact match}=\frac{\sum w\cdot[\text{all labels right}]}{\sum w}"
    ),
    "error = sum over bins of (samples in bin / samples) * |accuracy - confidence|": (
        r"\mathrm{error}=\sum_{\mathrm{bins}}\frac{\text{samples in bin}}"
        r"{\mathrm{samples}}\,\lvert\mathrm{accuracy}-\mathrm{confidence}\rvert"
    ),
    "mean = exp(sum(w * log(v)) / sum(w))": (
        r"\mathrm{mean}=\exp\frac{\sum w\log v}{\sum w}"
    ),
    "loss = sum(w * (predicted != true)) / sum(w)": (
        r"\mathrm{loss}=\frac{\sum w\,[\mathrm{predicted}\ne\mathrm{true}]}{\sum w}"
    ),
    "mean = sum(w) / sum(w / v)": r"\mathrm{mean}=\frac{\sum w}{\sum w/v}",
    "tau_b = (P - Q) / sqrt(pairs unequal in y_true * pairs unequal in y_pred)": (
        r"\tau_b=\frac{P-Q}{\sqrt{\text{pairs unequal in }y_{\mathrm{true}}\cdot"
        r"\text{pairs unequal in }y_{\mathrm{pred}}}}"
    ),
    "tau_c = 2 * (P - Q) / (n^2 * (m - 1) / m)": (
        r"\tau_c=\frac{2\,(P-Q)}{n^2\,(m-1)/m}"
    ),
    "(tp * tn - fp * fn) / sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))": (
        r"\frac{tp\cdot tn-fp\cdot fn}{\sqrt{(tp+fp)(tp+fn)(tn+fp)(tn+fn)}}"
    ),
    "(sum_k C[k, k] - sum_k t[k] * p[k]) / sqrt((1 - sum_k t[k]^2) * "
    "(1 - sum_k p[k]^2))": (
        r"\frac{\sum_k C_{k,k}-\sum_k t_k\,p_k}"
        r"{\sqrt{(1-\sum_k t_k^2)(1-\sum_k p_k^2)}}"
    ),
    "AP = mean over recalls r = 0, 0.01, .. 1 of max(precision where recall >= r)": (
        r"\mathrm{AP}=\mathrm{mean}_{r=0,\,0.01,\,\dots,\,1}\ "
        r"\max_{\mathrm{recall}\ge r}\mathrm{precision}"
    ),
    "[[tn, fp], [fn, tp]]": r"\begin{bmatrix}tn&fp\\fn&tp\end{bmatrix}",
    "perplexity = exp(sum(w * -log(p)) / sum(w))": (
        r"\mathrm{perplexity}=\exp\frac{-\sum w\log p}{\sum w}"
    ),
    "rho = sum(w * (r - mean(r)) * (s - mean(s))) / (sqrt(sum(w * (r - mean(r))^2)) * "
    "sqrt(sum(w * (s - mean(s))^2)))": (
        r"\rho=\frac{\sum w\,(r-\mathrm{mean}(r))(s-\mathrm{mean}(s))}"
        r"{\sqrt{\sum w\,(r-\mathrm{mean}(r))^2}\,"
        r"\sqrt{\sum w\,(s-\mathrm{mean}(s))^2}}"
    ),
    "specificity = tn / (tn + fp)": r"\mathrm{specificity}=\frac{tn}{tn+fp}",
    # Schedules
    "rate = schedules[i](step - boundaries[i - 1])": (
        r"\mathrm{rate}=\mathrm{schedules}_i(\mathrm{step}-\mathrm{boundaries}_{i-1})"
    ),
    "rate = initial + (maximum - initial) * height * scale": (
        r"\mathrm{rate}=\mathrm{initial}+(\mathrm{maximum}-\mathrm{initial})\cdot"
        r"\mathrm{height}\cdot\mathrm{scale}"
    ),
    "rate = initial * gamma^(number of decays at or before step)": (
        r"\mathrm{rate}=\mathrm{initial}\cdot"
        r"\gamma^{\text{number of decays at or before step}}"
    ),
    # Optimizers
    "m = beta_1 * m + (1 - beta_1) * g": r"m\leftarrow\beta_1 m+(1-\beta_1)\,g",
    "v = beta_2 * v + (1 - beta_2) * g^2": r"v\leftarrow\beta_2 v+(1-\beta_2)\,g^2",
    "rho_inf = 2 / (1 - beta_2) - 1": r"\rho_\infty=\frac{2}{1-\beta_2}-1",
    "rho = rho_inf - 2 * t * beta_2^t / (1 - beta_2^t)": (
        r"\rho=\rho_\infty-\frac{2\,t\,\beta_2^t}{1-\beta_2^t}"
    ),
    "w = w - rate * r * m / (1 - beta_1^t) * sqrt(1 - beta_2^t) / (sqrt(v) + epsilon)"
    "": (
        r"w\leftarrow w-\mathrm{rate}\cdot r\,\frac{m}{1-\beta_1^t}\cdot"
        r"\frac{\sqrt{1-\beta_2^t}}{\sqrt v+\varepsilon}"
    ),
    "r = sqrt((rho - 4) (rho - 2) rho_inf / ((rho_inf - 4) (rho_inf - 2) rho))": (
        r"r=\sqrt{\frac{(\rho-4)(\rho-2)\,\rho_\infty}"
        r"{(\rho_\infty-4)(\rho_\infty-2)\,\rho}}"
    ),
    "s = beta_2 * s + (1 - beta_2) * (g - m)^2 + epsilon": (
        r"s\leftarrow\beta_2 s+(1-\beta_2)\,(g-m)^2+\varepsilon"
    ),
    "w = w - rate * r * m / (1 - beta_1^t) / (sqrt(s / (1 - beta_2^t)) + epsilon)": (
        r"w\leftarrow w-\mathrm{rate}\cdot r\,\frac{m}{1-\beta_1^t}\cdot"
        r"\frac{1}{\sqrt{s/(1-\beta_2^t)}+\varepsilon}"
    ),
    "m = m + (1 - beta_1) * (g - m)": r"m\leftarrow m+(1-\beta_1)\,(g-m)",
    "v = v + (1 - beta_2) * (g^2 - v)": r"v\leftarrow v+(1-\beta_2)\,(g^2-v)",
    "w = w - rate * sqrt(1 - beta_2^t) / (1 - beta_1^t) * m / (sqrt(v) + epsilon)": (
        r"w\leftarrow w-\mathrm{rate}\,\frac{\sqrt{1-\beta_2^t}}{1-\beta_1^t}\cdot"
        r"\frac{m}{\sqrt{v}+\varepsilon}"
    ),
    "v = beta_2 * v + (1 - beta_2) * |g|^2": (
        r"v\leftarrow\beta_2 v+(1-\beta_2)\,|g|^2"
    ),
    "m = beta_1 * m + g / (sqrt(v) + epsilon) + weight_decay * w": (
        r"m\leftarrow\beta_1 m+\frac{g}{\sqrt{v}+\varepsilon}+"
        r"\mathrm{weight\_decay}\cdot w"
    ),
    "w = w - rate * m": r"w\leftarrow w-\mathrm{rate}\cdot m",
    "v = v - (1 - beta_2) * sign(v - g^2) * g^2": (
        r"v\leftarrow v-(1-\beta_2)\,\mathrm{sign}(v-g^2)\,g^2"
    ),
    # In a line of text
    "x = input * sigmoid(mlp(mean(input)) + mlp(max(input)))": (
        r"x=\mathrm{input}\cdot\sigma(\mathrm{mlp}(\mathrm{mean}("
        r"\mathrm{input}))+\mathrm{mlp}(\max(\mathrm{input})))"
    ),
    "output = x * sigmoid(W * [mean(x), max(x)])": (
        r"\mathrm{output}=x\cdot\sigma(W*[\mathrm{mean}(x),\max(x)])"
    ),
    "output = input * sigmoid(w * mean(input))": (
        r"\mathrm{output}=\mathrm{input}\cdot\sigma(w*\mathrm{mean}("
        r"\mathrm{input}))"
    ),
    "output = act(norm(W * input))": (
        r"\mathrm{output}=\mathrm{act}(\mathrm{norm}(W*\mathrm{input}))"
    ),
    "act(W * input + b)": r"\mathrm{act}(W*\mathrm{input}+b)",
    "norm = sqrt(sum(input^2))": r"\mathrm{norm}=\sqrt{\sum\mathrm{input}^2}",
    "relative = norm / (mean(norm) + epsilon)": (
        r"\mathrm{relative}=\frac{\mathrm{norm}}{\mathrm{mean}(\mathrm{norm})+"
        r"\varepsilon}"
    ),
    "output[p * i + row, p * j + column] = input[i, j]": (
        r"\mathrm{output}_{p i+\mathrm{row},\,p j+\mathrm{column}}="
        r"\mathrm{input}_{i,j}"
    ),
    "argmax[i, j] = row * pool_width + column": (
        r"\mathrm{argmax}_{i,j}=\mathrm{row}\cdot\text{pool width}+\mathrm{column}"
    ),
    "output = max(input - tau, 0)": r"\mathrm{output}=\max(\mathrm{input}-\tau,\,0)",
    "output = inputs * keep / (1 - rate)": (
        r"\mathrm{output}=\frac{\mathrm{inputs}\cdot\mathrm{keep}}{1-"
        r"\mathrm{rate}}"
    ),
    "keep ~ Bernoulli(1 - rate)": (
        r"\mathrm{keep}\sim\mathrm{Bernoulli}(1-\mathrm{rate})"
    ),
    "output = layer(input)": r"\mathrm{output}=\mathrm{layer}(\mathrm{input})",
    "w = g * v / ||v||": r"w=g\,\frac{v}{\lVert v\rVert}",
    "g = 1 / std(t)": r"g=\frac{1}{\mathrm{std}(t)}",
    "bias = -mean(t) / std(t)": (
        r"\mathrm{bias}=-\frac{\mathrm{mean}(t)}{\mathrm{std}(t)}"
    ),
    "w = v / ||v||": r"w=\frac{v}{\lVert v\rVert}",
    "loss = 1 - mean(ssim)": r"\mathrm{loss}=1-\mathrm{mean}(\mathrm{ssim})",
    "loss = -y (1 - p)^gamma_positive log(p)": (
        r"\mathrm{loss}=-y\,(1-p)^{\gamma_+}\log p"
    ),
    "loss = -(1 - y) p_m^gamma_negative log(1 - p_m)": (
        r"\mathrm{loss}=-(1-y)\,p_m^{\gamma_-}\log(1-p_m)"
    ),
    "loss = log Z - score(y)": r"\mathrm{loss}=\log Z-\mathrm{score}(y)",
    "Z = sum over all sequences of exp(score)": (
        r"Z=\sum_{\text{all sequences}}e^{\mathrm{score}}"
    ),
    "loss_i = sum_j w[t_i, j] p[i, j] / E": (
        r"\mathrm{loss}_i=\frac{1}{E}\sum_j w_{t_i,j}\,p_{i,j}"
    ),
    "E = mean over all i and k of sum_j w[t_i, j] p[k, j]": (
        r"E=\mathrm{mean}_{i,k}\sum_j w_{t_i,j}\,p_{k,j}"
    ),
    "rate = initial + (maximum - initial) * step / warmup_steps": (
        r"\mathrm{rate}=\mathrm{initial}+(\mathrm{maximum}-\mathrm{initial})\,"
        r"\frac{\mathrm{step}}{\text{warmup steps}}"
    ),
    "rate = maximum * sqrt(warmup_steps / step)": (
        r"\mathrm{rate}=\mathrm{maximum}\cdot\sqrt{\frac{\text{warmup steps}}{"
        r"\mathrm{step}}}"
    ),
    "rate = initial + (maximum - initial) * ease(step / peak)": (
        r"\mathrm{rate}=\mathrm{initial}+(\mathrm{maximum}-\mathrm{initial})\cdot"
        r"\mathrm{ease}\frac{\mathrm{step}}{\mathrm{peak}}"
    ),
    "rate = final + (maximum - final) * ease(left / (total_steps - peak))": (
        r"\mathrm{rate}=\mathrm{final}+(\mathrm{maximum}-\mathrm{final})\cdot"
        r"\mathrm{ease}\frac{\mathrm{left}}{\text{total steps}-\mathrm{peak}}"
    ),
    "rate = initial + (schedule(0) - initial) * step / warmup_steps": (
        r"\mathrm{rate}=\mathrm{initial}+(\mathrm{schedule}(0)-\mathrm{initial})"
        r"\,\frac{\mathrm{step}}{\text{warmup steps}}"
    ),
    "rate = schedule(step - warmup_steps)": (
        r"\mathrm{rate}=\mathrm{schedule}(\mathrm{step}-\text{warmup steps})"
    ),
    "slow = slow + slow_step_size * (weights - slow)": (
        r"\mathrm{slow}\leftarrow\mathrm{slow}+\text{slow step size}\cdot("
        r"\mathrm{weights}-\mathrm{slow})"
    ),
    "weights = slow": r"\mathrm{weights}\leftarrow\mathrm{slow}",
    "w = w - rate * m / (1 - beta_1^t)": (
        r"w\leftarrow w-\mathrm{rate}\,\frac{m}{1-\beta_1^t}"
    ),
}
